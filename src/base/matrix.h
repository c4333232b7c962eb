// MatrixView: rows of a row-major matrix that somebody else owns.
#pragma once

#include <cstdint>

namespace millrace {

template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;  // elements from one row to the next; >= columns

  T* row(int64_t i) const { return data + i * stride; }
  MatrixView Rows(int64_t first, int64_t count) const {
    return {row(first), count, columns, stride};
  }
  operator MatrixView<const T>() const {
    return {data, rows, columns, stride};
  }  // NOLINT: adds const only
};

}  // namespace millrace
