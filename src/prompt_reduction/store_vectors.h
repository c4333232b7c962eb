// The vectors of a store: one for each passage, in the same file, and the search through all of
// them. Internal to prompt_reduction/.
//
// A vector is kept as bf16, padded with zeros to a multiple of kDotStep: of two vectors of length 1
// the rounding changes the product by less than 2^-8, by about 2^-9 / sqrt(width) as a rule.
// Invariant: `vectors` has a row for each row of `passages`, with its id; both change in one
// transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/sqlite.h"
#include "prompt_reduction/vector_model.h"

namespace millrace {

// Whose vectors a store has.
struct StoredModel {
  std::string name;
  int32_t width = 0;
  std::vector<uint16_t> probe;  // packed
};

size_t PackedWidth(int32_t width);  // elements of a packed vector
// Appends the vector, packed.
void PackVector(std::span<const float> vector, std::vector<uint16_t>& out);

// The vectors of texts, [texts, width]; an error where the model makes another number of them.
Result<std::vector<float>> EmbedTexts(const VectorModel& model, std::span<const std::string> texts);

// The tables, in the transaction under way.
Status MakeVectorTables(SqliteDatabase& database, const VectorModel& model);
// Of a store that has them.
Result<StoredModel> ReadStoredModel(SqliteDatabase& database);
// Nothing, or why `model` is not the one; the message goes on from the store's name.
Status CheckSameModel(const StoredModel& stored, const VectorModel& model);

struct NearVector {
  int64_t passage = 0;
  double cosine = 0;
};
// Reads every vector: the `most` with the greatest products with the question's, greatest first,
// of equal ones the one with the smaller id. Memory: for `most` of them, beside SQLite's.
Result<std::vector<NearVector>> NearestVectors(SqliteDatabase& database,
                                               std::span<const float> question, size_t most);
// The product of one.
Result<double> CosineOf(SqliteDatabase& database, std::span<const float> question, int64_t passage);

// That there is one for each passage, of the right length.
Status VerifyVectors(SqliteDatabase& database, const StoredModel& stored);

}  // namespace millrace
