// The models beside the one that generates: --embedding-model and --rerank-model.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "embedding/embedding_service.h"
#include "prompt_reduction/vector_model.h"
#include "simd/isa.h"

namespace millrace {

class Verb;

struct SideModelFlags {
  std::string embedding;  // GGUF files; empty: none
  std::string rerank;
};
void AddSideModelFlags(Verb& verb, SideModelFlags& flags);

// Order of members: what is used by the other comes first.
struct LoadedSideModel {
  std::string id;                             // the file's name without its end
  std::unique_ptr<ThreadPool> pool;           // null where the flags name no file, as is
  std::unique_ptr<EmbeddingService> service;  // this
};
struct LoadedSideModels {
  LoadedSideModel embedding;
  LoadedSideModel rerank;
};

// A reranker under --embedding-model, or another model under --rerank-model, is an error that names
// the other flag.
Result<LoadedSideModels> LoadSideModels(const SideModelFlags& flags, Isa isa, int threads);

// The embedding model alone, as the stores of the command line use it; its threads are as many as
// there are cores.
struct LoadedVectors {
  LoadedSideModel side;
  VectorModel model;
};
// Null where `path` is empty.
Result<std::unique_ptr<LoadedVectors>> LoadVectorModel(const std::string& path);
// --embedding-model, for a verb that uses stores.
void AddVectorModelFlag(Verb& verb, std::string& path);

}  // namespace millrace
