#include "prompt_reduction/store_vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/float16.h"
#include "prompt_reduction/bf16_dot.h"

namespace millrace {
namespace {

constexpr double kSameModel = 0.999;  // cosine of the probes: a model in bf16 or q8_0 has it with
                                      // its f32, another seed has not (embedding_test)

constexpr char kVectorTables[] = R"(
CREATE TABLE vector_model (name TEXT NOT NULL, width INTEGER NOT NULL, probe BLOB NOT NULL);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
)";

Error DamagedVector() {
  return Error{"The store is damaged: a vector has not the model's length", ErrorKind::kIo};
}

// The product of a packed vector, as a blob that may stand anywhere in memory, with another.
class Product {
 public:
  explicit Product(std::span<const float> vector)
      : vector_(vector), row_(PackedWidth(static_cast<int32_t>(vector.size()))) {}

  Result<double> With(std::span<const std::byte> blob) {
    const size_t bytes = row_.size() * sizeof(uint16_t);
    if (blob.size() != bytes) return DamagedVector();
    std::memcpy(row_.data(), blob.data(), bytes);
    const double product = dot_(row_.data(), vector_.even.data(), vector_.odd.data(),
                                static_cast<int64_t>(row_.size()));
    return std::isfinite(product) ? product : -1.0;
  }

 private:
  const SplitVector vector_;
  std::vector<uint16_t> row_;
  const Bf16Dot dot_ = Bf16DotForThisMachine();
};

bool IsNearer(const NearVector& a, const NearVector& b) {
  return a.cosine != b.cosine ? a.cosine > b.cosine : a.passage < b.passage;
}

}  // namespace

size_t PackedWidth(int32_t width) {
  return (static_cast<size_t>(width) + kDotStep - 1) / kDotStep * kDotStep;
}

void PackVector(std::span<const float> vector, std::vector<uint16_t>& out) {
  const size_t begin = out.size();
  for (const float x : vector) out.push_back(F32ToBf16(x));
  out.resize(begin + PackedWidth(static_cast<int32_t>(vector.size())));
}

Result<std::vector<float>> EmbedTexts(const VectorModel& model,
                                      std::span<const std::string> texts) {
  ASSIGN_OR_RETURN(std::vector<float> vectors, model.embed(texts));
  if (vectors.size() != texts.size() * static_cast<size_t>(model.width)) {
    return Error{"The embedding model made another number of vectors than it was given texts",
                 ErrorKind::kInternal};
  }
  return vectors;
}

Status MakeVectorTables(SqliteDatabase& database, const VectorModel& model) {
  RETURN_IF_ERROR(database.Execute(kVectorTables));
  ASSIGN_OR_RETURN(SqliteStatement insert,
                   database.Prepare("INSERT INTO vector_model VALUES (?, ?, ?)"));
  std::vector<uint16_t> probe;
  PackVector(model.probe, probe);
  return insert.Bind(1, model.name)
      .Bind(2, int64_t{model.width})
      .Bind(3, std::as_bytes(std::span<const uint16_t>(probe)))
      .Run();
}

Result<StoredModel> ReadStoredModel(SqliteDatabase& database) {
  ASSIGN_OR_RETURN(SqliteStatement read,
                   database.Prepare("SELECT name, width, probe FROM vector_model"));
  ASSIGN_OR_RETURN(const bool row, read.Step());
  const std::span<const std::byte> probe = row ? read.Blob(2) : std::span<const std::byte>();
  const int64_t width = row ? read.Int(1) : 0;
  constexpr int64_t kWidest = 1 << 20;
  if (width < 1 || width > kWidest ||
      probe.size() != PackedWidth(static_cast<int32_t>(width)) * sizeof(uint16_t)) {
    return Error{"The store is damaged: it does not say whose vectors it holds", ErrorKind::kIo};
  }
  StoredModel stored = {read.Text(0), static_cast<int32_t>(width), {}};
  stored.probe.resize(probe.size() / sizeof(uint16_t));
  std::memcpy(stored.probe.data(), probe.data(), probe.size());
  return stored;
}

Status CheckSameModel(const StoredModel& stored, const VectorModel& model) {
  const auto width_of = [](int32_t width) { return " (" + std::to_string(width) + " wide)"; };
  const std::string holds = "holds vectors of the embedding model '" + stored.name + "'" +
                            width_of(stored.width) + ", and this one is ";
  const std::string instead = ": use that model, or make the store again with this one";
  if (model.width != stored.width) {
    return Error{holds + "'" + model.name + "'" + width_of(model.width) + instead,
                 ErrorKind::kUnsupported};
  }
  Product with(model.probe);
  ASSIGN_OR_RETURN(const double likeness,
                   with.With(std::as_bytes(std::span<const uint16_t>(stored.probe))));
  if (likeness >= kSameModel) return {};
  return Error{holds + "another ('" + model.name + "', whose vectors differ)" + instead,
               ErrorKind::kUnsupported};
}

Result<std::vector<NearVector>> NearestVectors(SqliteDatabase& database,
                                               std::span<const float> question, size_t most) {
  ASSIGN_OR_RETURN(SqliteStatement read, database.Prepare("SELECT id, vector FROM vectors"));
  Product product(question);
  std::vector<NearVector> nearest;  // a heap whose first is the farthest
  while (most > 0) {
    ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) break;
    ASSIGN_OR_RETURN(const double cosine, product.With(read.Blob(1)));
    const NearVector found = {read.Int(0), cosine};
    if (nearest.size() == most) {
      if (!IsNearer(found, nearest.front())) continue;
      std::pop_heap(nearest.begin(), nearest.end(), IsNearer);
      nearest.pop_back();
    }
    nearest.push_back(found);
    std::push_heap(nearest.begin(), nearest.end(), IsNearer);
  }
  std::sort_heap(nearest.begin(), nearest.end(), IsNearer);
  return nearest;
}

Result<double> CosineOf(SqliteDatabase& database, std::span<const float> question,
                        int64_t passage) {
  ASSIGN_OR_RETURN(SqliteStatement read,
                   database.Prepare("SELECT vector FROM vectors WHERE id = ?"));
  ASSIGN_OR_RETURN(const bool row, read.Bind(1, passage).Step());
  if (!row) return Error{"The store is damaged: a passage has no vector", ErrorKind::kIo};
  return Product(question).With(read.Blob(0));
}

Status VerifyVectors(SqliteDatabase& database, const StoredModel& stored) {
  ASSIGN_OR_RETURN(
      SqliteStatement check,
      database.Prepare("SELECT (SELECT count(*) FROM passages) = (SELECT count(*) FROM vectors) "
                       "AND NOT EXISTS (SELECT 1 FROM passages WHERE id NOT IN (SELECT id FROM "
                       "vectors)) AND NOT EXISTS (SELECT 1 FROM vectors WHERE length(vector) <> "
                       "?)"));
  const auto bytes = static_cast<int64_t>(PackedWidth(stored.width) * sizeof(uint16_t));
  ASSIGN_OR_RETURN(const bool row, check.Bind(1, bytes).Step());
  if (row && check.Int(0) == 1) return {};
  return Error{"The store's vectors are not those of its passages", ErrorKind::kIo};
}

}  // namespace millrace
