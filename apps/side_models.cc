#include "side_models.h"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "command_line.h"
#include "embedding/vector_model.h"
#include "gguf/gguf.h"

namespace millrace {
namespace {

// Threads of its own: the engine's are busy with generation at the same time.
Result<LoadedSideModel> LoadSideModel(const std::string& path, Isa isa, int threads) {
  LoadedSideModel loaded;
  if (path.empty()) return loaded;
  ASSIGN_OR_RETURN(MappedGguf opened, MappedGguf::Open(path));
  const auto mapped = std::make_shared<const MappedGguf>(std::move(opened));
  loaded.id = std::filesystem::path(path).stem().string();
  loaded.pool = std::make_unique<ThreadPool>(threads);
  EmbeddingOptions options;
  options.isa = isa;
  options.weights.mapped = mapped;
  ASSIGN_OR_RETURN(auto model, EmbeddingModel::Load(mapped->file(), options, *loaded.pool));
  loaded.service = std::make_unique<EmbeddingService>(std::move(model));
  return loaded;
}

}  // namespace

void AddSideModelFlags(Verb& verb, SideModelFlags& flags) {
  verb.Option("--embedding-model", flags.embedding,
              "a GGUF model for /v1/embeddings: bert, nomic-bert, or a decoder (last row or mean)")
      .Env("MILLRACE_EMBEDDING_MODEL")
      .Placeholder("MODEL");
  verb.Option("--rerank-model", flags.rerank,
              "a GGUF reranker for /v1/rerank: bert with a classifier, or a decoder that says yes "
              "or no")
      .Env("MILLRACE_RERANK_MODEL")
      .Placeholder("MODEL");
}

Result<std::unique_ptr<LoadedVectors>> LoadVectorModel(const std::string& path) {
  std::unique_ptr<LoadedVectors> loaded;
  if (path.empty()) return loaded;
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ASSIGN_OR_RETURN(LoadedSideModels side,
                   LoadSideModels({.embedding = path, .rerank = ""}, DetectIsa(), threads));
  loaded = std::make_unique<LoadedVectors>();
  loaded->side = std::move(side.embedding);
  ASSIGN_OR_RETURN(loaded->model, MakeVectorModel(*loaded->side.service, loaded->side.id));
  return loaded;
}

void AddVectorModelFlag(Verb& verb, std::string& path) {
  verb.Option("--embedding-model", path,
              "a GGUF embedding model: the store is made with vectors, filled and searched with it")
      .Placeholder("MODEL");
}

Result<LoadedSideModels> LoadSideModels(const SideModelFlags& flags, Isa isa, int threads) {
  LoadedSideModels loaded;
  ASSIGN_OR_RETURN(loaded.embedding, LoadSideModel(flags.embedding, isa, threads));
  if (loaded.embedding.service && loaded.embedding.service->model().ranks()) {
    return Error{"--embedding-model " + flags.embedding +
                 " is a reranker, which makes no vectors: name it with --rerank-model"};
  }
  ASSIGN_OR_RETURN(loaded.rerank, LoadSideModel(flags.rerank, isa, threads));
  if (loaded.rerank.service && !loaded.rerank.service->model().ranks()) {
    return Error{"--rerank-model " + flags.rerank + " makes vectors, not scores (its pooling is " +
                 std::string(NameOf(loaded.rerank.service->model().pooling())) +
                 "): name it with --embedding-model, or use a cross-encoder"};
  }
  return loaded;
}

}  // namespace millrace
