// llama.cpp's float32 logits of every position, row after row, as `millrace inspect --logits` writes ours.
//
// usage: llama_logits BACKEND_FOLDER MODEL OUT.f32 TOKEN,TOKEN,... [ADAPTER.gguf SCALE]
#include <stdio.h>
#include <stdlib.h>

#include "ggml-backend.h"
#include "llama.h"

static void errors_only(enum ggml_log_level level, const char* text, void* data) {
  (void)data;
  if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: llama_logits BACKEND_FOLDER MODEL OUT.f32 TOKEN,TOKEN,... [ADAPTER.gguf SCALE]\n");
    return 2;
  }
  llama_log_set(errors_only, NULL);
  ggml_backend_load_all_from_path(argv[1]);
  struct llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  struct llama_model* model = llama_model_load_from_file(argv[2], model_params);
  if (model == NULL) return 1;
  llama_token tokens[4096];
  int count = 0;
  for (char* at = argv[4]; *at != '\0' && count < 4096;) {
    tokens[count++] = (llama_token)strtol(at, &at, 10);
    if (*at == ',') ++at;
  }
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = 4096;
  params.n_batch = params.n_ubatch = 4096;
  params.n_threads = params.n_threads_batch = 2;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  struct llama_context* context = llama_init_from_model(model, params);
  if (context == NULL) return 1;
  if (argc > 6) {
    struct llama_adapter_lora* adapter = llama_adapter_lora_init(model, argv[5]);
    float scale = strtof(argv[6], NULL);
    if (adapter == NULL || llama_set_adapters_lora(context, &adapter, 1, &scale) != 0) return 1;
  }
  struct llama_batch batch = llama_batch_init(count, 0, 1);
  for (int i = 0; i < count; ++i) {
    batch.token[i] = tokens[i];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  batch.n_tokens = count;
  if (llama_decode(context, batch) != 0) return 1;
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  FILE* out = fopen(argv[3], "wb");
  if (out == NULL) {
    perror(argv[3]);
    return 1;
  }
  for (int i = 0; i < count; ++i) {
    if (fwrite(llama_get_logits_ith(context, i), sizeof(float), (size_t)vocabulary, out) != (size_t)vocabulary) return 1;
  }
  return fclose(out) != 0;
}
