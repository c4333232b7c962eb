// millrace index: stores of passages, made and filled from files.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "index_input.h"
#include "prompt_reduction/candidates.h"
#include "prompt_reduction/passage_store.h"
#include "side_models.h"
#include "verbs.h"

namespace millrace {
namespace {

constexpr size_t kListed = 1000;  // entries read at a time

struct IndexFlags {
  std::string action;
  std::string store;
  std::vector<std::string> items;
  std::string embedding_model;
  int32_t top = 10;
  bool json = false;
};

Status CreateStore(const IndexFlags& flags, const VectorModel* vectors) {
  const auto store = PassageStore::Create(flags.store, vectors);
  if (!store.ok()) return store.error();
  return {};
}

// With `vectors`, if the store holds some; a model for a store without them is a mistake.
Result<PassageStore> OpenWithVectors(const IndexFlags& flags, PassageStore::Access access,
                                     const VectorModel* vectors) {
  ASSIGN_OR_RETURN(PassageStore store, PassageStore::Open(flags.store, access));
  if (vectors == nullptr) return store;
  if (store.vector_model().empty()) {
    return Error{flags.store +
                 " holds no vectors: leave out --embedding-model, or make the store again with it "
                 "(`millrace index create`)"};
  }
  const Status used = store.UseModel(*vectors);
  if (!used.ok()) return Error{flags.store + " " + used.error().message};
  return store;
}

Status AddToStore(const IndexFlags& flags, const VectorModel* vectors) {
  if (flags.items.empty()) return Error{"name the files to add"};
  ASSIGN_OR_RETURN(PassageStore store,
                   OpenWithVectors(flags, PassageStore::Access::kWrite, vectors));
  if (!store.vector_model().empty() && vectors == nullptr) {
    return Error{flags.store + " holds vectors of the embedding model '" + store.vector_model() +
                 "': name it with --embedding-model"};
  }
  const auto begin = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const StoreCounts before, store.Counts());
  int64_t documents = 0;
  for (const std::string& path : flags.items) {
    RETURN_IF_ERROR(ReadForIndex(path, [&](std::span<const StoredDocument> batch) {
      documents += static_cast<int64_t>(batch.size());
      return store.Add(batch);
    }));
  }
  ASSIGN_OR_RETURN(const StoreCounts after, store.Counts());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (flags.json) {
    fmt::print("{}\n", nlohmann::ordered_json({{"documents_read", documents},
                                               {"documents", after.documents},
                                               {"passages", after.passages},
                                               {"seconds", seconds}})
                           .dump());
  } else {
    fmt::print("{} documents read in {:.1f} s; the store has {} documents, {} passages ({:+})\n",
               documents, seconds, after.documents, after.passages,
               after.passages - before.passages);
  }
  return {};
}

Status ListStore(const IndexFlags& flags) {
  ASSIGN_OR_RETURN(PassageStore store,
                   PassageStore::Open(flags.store, PassageStore::Access::kRead));
  std::string after;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<DocumentEntry> entries, store.List(after, kListed));
    for (const DocumentEntry& e : entries) {
      if (flags.json) {
        const nlohmann::ordered_json line = {
            {"id", e.id}, {"title", e.title}, {"bytes", e.bytes}, {"passages", e.passages}};
        std::puts(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
      } else {
        fmt::print("{}  {} passages, {} bytes  {}\n", e.id, e.passages, e.bytes, e.title);
      }
    }
    if (entries.size() < kListed) return {};
    after = entries.back().id;
  }
}

Status DeleteFromStore(const IndexFlags& flags) {
  if (flags.items.empty()) return Error{"name the ids of the documents to delete"};
  ASSIGN_OR_RETURN(PassageStore store,
                   PassageStore::Open(flags.store, PassageStore::Access::kWrite));
  for (const std::string& id : flags.items) {
    ASSIGN_OR_RETURN(const bool there, store.Delete(id));
    if (!there) return Error{"the store has no document '" + id + "'", ErrorKind::kNotFound};
  }
  return {};
}

Status SearchStore(const IndexFlags& flags, const VectorModel* vectors) {
  if (flags.items.empty()) return Error{"give a question"};
  ASSIGN_OR_RETURN(PassageStore store,
                   OpenWithVectors(flags, PassageStore::Access::kRead, vectors));
  if (!store.vector_model().empty() && vectors == nullptr) {
    fmt::print(stderr,
               "searched by words only: name the embedding model '{}' to search vectors too\n",
               store.vector_model());
  }
  std::string question;
  for (const std::string& word : flags.items) question += (question.empty() ? "" : " ") + word;
  ASSIGN_OR_RETURN(const auto found, FindInStore(store, question, static_cast<size_t>(flags.top)));
  for (const FoundPassage& f : found) {
    if (flags.json) {
      nlohmann::ordered_json line = {{"score", f.score},
                                     {"id", f.passage.id},
                                     {"title", f.passage.title},
                                     {"begin", f.passage.begin},
                                     {"text", f.passage.text}};
      if (f.cosine) line["cosine"] = *f.cosine;
      std::puts(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    } else {
      fmt::print("{:.{}f}  {} at {}\n    {}\n", f.score, f.cosine ? 4 : 2, f.passage.id,
                 f.passage.begin, f.passage.text);
    }
  }
  return {};
}

Status RunIndex(const IndexFlags& flags) {
  if (flags.action == "list") return ListStore(flags);
  if (flags.action == "delete") return DeleteFromStore(flags);
  ASSIGN_OR_RETURN(const auto loaded, LoadVectorModel(flags.embedding_model));
  const VectorModel* vectors = loaded ? &loaded->model : nullptr;
  if (flags.action == "create") return CreateStore(flags, vectors);
  if (flags.action == "add") return AddToStore(flags, vectors);
  if (flags.action == "search") return SearchStore(flags, vectors);
  ASSIGN_OR_RETURN(PassageStore store,
                   PassageStore::Open(flags.store, PassageStore::Access::kWrite));
  return store.Verify();
}

}  // namespace

void AddIndexVerb(CommandLine& line) {
  auto flags = std::make_shared<IndexFlags>();
  Verb verb = line.AddVerb("index", "Make, fill and search a store of passages");
  verb.Option("action", flags->action, "create, add, list, delete, search or verify")
      .Required()
      .OneOf({"create", "add", "list", "delete", "search", "verify"});
  verb.Option("store", flags->store, "the store's file").Required();
  verb.Option("items", flags->items,
              "add: text, Markdown, HTML, PDF or JSONL files (.jsonl: a line {\"id\", \"text\", "
              "\"title\"} each); delete: ids; search: a question");
  AddVectorModelFlag(verb, flags->embedding_model);
  verb.Option("--top", flags->top, "search: how many passages").ShowDefault().Range(1, 200);
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags] { return RunIndex(*flags); });
}

}  // namespace millrace
