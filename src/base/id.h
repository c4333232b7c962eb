// Id<Tag>: an integer that cannot be mixed up with another kind of integer.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace millrace {

template <class Tag, class Rep = int32_t>
struct Id {
  Rep value{};

  constexpr Id() = default;
  constexpr explicit Id(Rep v) : value(v) {}
  friend constexpr bool operator==(Id, Id) = default;
  friend constexpr auto operator<=>(Id, Id) = default;
};

using TokenId = Id<struct TokenTag>;               // index into a model's vocabulary
using BlockId = Id<struct BlockTag>;               // index of a KV block in its pool
using RequestId = Id<struct RequestTag, int64_t>;  // unique within one engine's life

}  // namespace millrace

template <class Tag, class Rep>
struct std::hash<millrace::Id<Tag, Rep>> {
  size_t operator()(millrace::Id<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};
