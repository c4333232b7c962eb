// JSON schema (draft 2020-12, and what older drafts and OpenAPI call the same) -> Nfa of the JSON
// texts that it allows.
//
// Keywords: type, enum, const, anyOf, oneOf (of alternatives that exclude one another), allOf, $ref
// within the schema, $defs, definitions; properties, required, additionalProperties,
// patternProperties (up to 3), propertyNames, minProperties, maxProperties; items, prefixItems,
// minItems, maxItems; minLength, maxLength, pattern, format (schema_formats.h); minimum, maximum,
// exclusiveMinimum, exclusiveMaximum, multipleOf; annotations are ignored. Any other keyword is an
// error that names it: ignoring it could give an answer that the schema forbids.
//
// Narrower than the schema, so that answers stay valid: properties come in the schema's order, as
// in OpenAI's structured outputs; an object with `properties` has no others unless
// additionalProperties or patternProperties allow them; a schema without `type` whose keywords are
// of certain types allows these only; numbers and formats are written as number_range.h and
// schema_formats.h say; between tokens stands at most a space, or one or two line ends with up to
// 20 spaces; the characters of a string with a pattern or format are spelled in one way.
#pragma once

#include <string_view>

#include "base/result.h"
#include "constrained_output/nfa.h"

namespace millrace::constrained_internal {

inline constexpr int kMaxSchemaDepth = 64;
// Combinations of subschemas that are compiled.
inline constexpr size_t kMaxSchemaRules = 5000;

// Every message names the keyword and where in the schema it stands.
Result<Nfa> CompileJsonSchema(std::string_view schema);
// The members of an object that the schema allows, between tags (schema_compiler.h).
struct MemberTags;
Result<Nfa> CompileTaggedMembers(std::string_view schema, const MemberTags& tags);

}  // namespace millrace::constrained_internal
