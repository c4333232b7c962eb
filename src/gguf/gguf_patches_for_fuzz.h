// For fuzz targets: a whole GGUF file with a few bytes changed, as an input asks. Bytes at random
// hardly ever get past a file's head; these reach what stands behind it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace millrace {

// `input` is a list of changes: a place in the first 64 KiB (two bytes), a kind, and its value.
inline std::vector<std::byte> PatchedFile(std::span<const std::byte> file,
                                          std::span<const uint8_t> input) {
  constexpr uint64_t kAbsurd[] = {0,
                                  1,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  uint64_t{1} << 32,
                                  ~uint64_t{0} >> 1,
                                  uint64_t{1} << 63,
                                  ~uint64_t{0},
                                  ~uint64_t{0} - 31};
  std::vector<std::byte> bytes(file.begin(), file.end());
  while (input.size() >= 4 && bytes.size() > 16) {
    const size_t at = (size_t{input[0]} | size_t{input[1]} << 8) % (bytes.size() - 8);
    const uint8_t kind = input[2], value = input[3];
    input = input.subspan(4);
    const auto place = bytes.begin() + static_cast<ptrdiff_t>(at);
    switch (kind % 6) {
      case 0:
        *place = std::byte{value};
        break;
      case 1:  // a length or a count
        std::memcpy(&*place, &kAbsurd[value % std::size(kAbsurd)], kind >= 128 ? 4 : 8);
        break;
      case 2: {  // nearly what it was
        int64_t number = 0;
        std::memcpy(&number, &*place, 8);
        number = static_cast<int64_t>(static_cast<uint64_t>(number) + value - 128u);
        std::memcpy(&*place, &number, 8);
        break;
      }
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.insert(place, 1 + value % 16, std::byte{kind});
        break;
      default:
        bytes.erase(place, place + static_cast<ptrdiff_t>(
                                       std::min<size_t>(1 + value % 16, bytes.size() - at)));
    }
  }
  return bytes;
}

}  // namespace millrace
