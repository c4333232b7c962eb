// WeightCache: the packed matrices of a model in a file of their own, so that the next start maps
// them instead of packing again.
//
// Invariant: a cache that Open returns holds, bit for bit, what packing the source file again would
// give: it was written from a file of the same path, size and modification time, with the same
// packed layout, and every checksum in it is right. Anything else is an error, and the caller packs
// as if there were no cache. A file is written under another name and renamed when complete, so a
// reader never sees a part of one, and a file that is mapped is never changed.
//
// Layout, little-endian: a header, one entry per matrix followed by its name, then the panels, each
// matrix on a page's border.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "quantization/weight_matrix.h"

namespace millrace {

// The cache file for `source` in `directory`: one per path, so that a new version of a model takes
// the place of the old one.
std::string WeightCachePath(const std::string& directory, const GgufFileIdentity& source);

class WeightCache {
 public:
  // Maps the cache of `source` and checks all of it (about the time of reading it from memory).
  // Errors: kNotFound where there is none, else a sentence that says why it is of no use.
  static Result<WeightCache> Open(const std::string& directory, const GgufFileIdentity& source,
                                  ThreadPool& pool);

  // The matrix `name`; an error where it is absent or has another type or shape. It views
  // mapping().
  Result<WeightMatrix> Find(const std::string& name, DType type, int64_t rows,
                            int64_t columns) const;
  // Keeps the panels of the matrices alive.
  std::shared_ptr<const void> mapping() const { return mapping_; }

 private:
  struct Entry {
    DType type;
    int64_t rows;
    int64_t columns;
    std::span<const std::byte> panels;
  };
  std::shared_ptr<const std::byte> mapping_;
  std::map<std::string, Entry> entries_;
};

struct NamedMatrix {
  std::string name;
  const WeightMatrix* matrix;  // packed, not in place
};

// Writes the cache of `source`, creating `directory` if need be. After an error there is no new
// file, and an older cache is as it was.
Status WriteWeightCache(const std::string& directory, const GgufFileIdentity& source,
                        std::span<const NamedMatrix> matrices, ThreadPool& pool);

}  // namespace millrace
