// SHA-256 by OpenSSL: names for cached blocks that nobody can make collide on purpose. A block's
// name hashes 160 bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace millrace {

using Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  Sha256& Add(std::span<const std::byte> bytes);
  template <class T>
  Sha256& AddAll(std::span<const T> values) {
    return Add(std::as_bytes(values));
  }
  Digest Finish();  // then it is used up

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

std::string HexOf(const Digest& digest);

}  // namespace millrace
