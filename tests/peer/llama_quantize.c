// llama.cpp's quantiser, from the library and headers that node-llama-cpp ships (build_peer.sh): to compare speed and
// quality with ours.
//
// usage: llama_quantize IN OUT FILE_TYPE_NUMBER THREADS [IMPORTANCE.dat]
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "llama.h"

static int32_t read_int(FILE* file) {
  int32_t value = 0;
  if (fread(&value, 4, 1, file) != 1) {
    fprintf(stderr, "the importance file ends early\n");
    exit(1);
  }
  return value;
}

// The .dat form of an importance matrix; the list ends with a null name.
static struct llama_model_imatrix_data* read_importance(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  const int32_t entries = read_int(file);
  struct llama_model_imatrix_data* list = calloc((size_t)entries + 1, sizeof(*list));
  for (int32_t i = 0; i < entries; ++i) {
    const int32_t length = read_int(file);
    char* name = calloc((size_t)length + 1, 1);
    if (fread(name, 1, (size_t)length, file) != (size_t)length) exit(1);
    const int32_t calls = read_int(file), count = read_int(file);
    float* values = malloc((size_t)count * sizeof(float));
    if (fread(values, sizeof(float), (size_t)count, file) != (size_t)count) exit(1);
    for (int32_t k = 0; k < count; ++k) values[k] /= (float)(calls > 0 ? calls : 1);
    list[i] = (struct llama_model_imatrix_data){name, values, (size_t)count};
  }
  fclose(file);
  return list;
}

static void errors_only(enum ggml_log_level level, const char* text, void* data) {
  (void)data;
  if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: llama_quantize IN OUT FILE_TYPE_NUMBER THREADS [IMPORTANCE.dat]\n");
    return 2;
  }
  llama_log_set(errors_only, NULL);
  llama_backend_init();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = (enum llama_ftype)atoi(argv[3]);
  params.nthread = atoi(argv[4]);
  if (argc > 5) params.imatrix = read_importance(argv[5]);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  const uint32_t failed = llama_model_quantize(argv[1], argv[2], &params);
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("{\"seconds\": %.3f, \"failed\": %u}\n",
         (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec), failed);
  return failed != 0;
}
