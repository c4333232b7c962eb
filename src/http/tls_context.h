// From files to what connections speak TLS with. Internal to http/.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "base/result.h"
#include "http/tls.h"

namespace millrace::http_internal {

// TLS 1.2 and 1.3, HTTP/1.1. kIo for a file that cannot be read, kInvalidArgument for one that
// holds something else, or for a key that is not the certificate's; the message names the file.
Result<std::shared_ptr<boost::asio::ssl::context>> MakeTlsContext(const TlsFiles& files);

}  // namespace millrace::http_internal
