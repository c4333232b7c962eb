// The fields that each request body may have, as its parser reads them. Internal to openai_api/.
#pragma once

#include "openai_api/json_fields.h"

namespace millrace::openai_internal {

FieldTable ChatFields();
FieldTable CompletionFields();
FieldTable ResponsesFields();
FieldTable MessagesFields();
FieldTable TokenizeFields();
FieldTable DetokenizeFields();
FieldTable EmbeddingsFields();
FieldTable RerankFields();
FieldTable StoreCreationFields();
FieldTable StoreFileFields();
FieldTable StoreFileBatchFields();
FieldTable StoreDocumentsFields();
FieldTable StoreSearchFields();

}  // namespace millrace::openai_internal
