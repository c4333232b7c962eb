-- The converter lua.conversation: the JSON body of a request -> what its conversation begins with, as text to be hashed.
--
-- Replicas keep the computed keys and values of prompts, so a conversation should always come to the same one. All of
-- its requests share their beginning: the system message and the first user message (OpenAI's chat, Anthropic's
-- "system", the Responses API's "instructions" and "input"), or the start of "prompt". A "prompt_cache_key" says it
-- outright. Never empty while the body is not: where nothing of this is found (or it lies behind what fits into
-- HAProxy's buffer, which may cut the body anywhere), the body's first bytes stand in.
--
-- The text is taken as it is written, escapes and all: a client writes the same text the same way each time.

local kMost = 1024  -- bytes of a prompt, or of a body that says nothing else: it grows at its end
local kLongest = 65536  -- bytes of the answer; less than what surely fits into the buffer

local function SkipString(text, at)  -- at its first quote -> behind its last; nil where it is cut
  local from = at + 1
  while true do
    local found = text:find('["\\]', from)
    if not found then return nil end
    if text:byte(found) == 34 then return found + 1 end
    from = found + 2
  end
end

local function SkipValue(text, at)  -- nil where it is cut
  local first = text:sub(at, at)
  if first == '"' then return SkipString(text, at) end
  if first ~= '{' and first ~= '[' then return text:match('^[^,%]}%s]+()', at) end
  local depth, from = 0, at
  while true do
    local found = text:find('["%[%]{}]', from)
    if not found then return nil end
    local byte = text:byte(found)
    if byte == 34 then
      from = SkipString(text, found)
      if not from then return nil end
    else
      depth = depth + ((byte == 91 or byte == 123) and 1 or -1)
      from = found + 1
      if depth == 0 then return from end
    end
  end
end

-- Calls visit(name, first, last) for each member of the object at `at`; a cut value reaches to the text's end.
local function EachMember(text, at, visit)
  local from = text:match('^%s*{()', at)
  while from do
    local quote = text:match('^[%s,]*()"', from)
    local behind = quote and SkipString(text, quote)
    local value = behind and text:match('^%s*:%s*()', behind)
    if not value then return end
    local last = SkipValue(text, value)
    visit(text:sub(quote + 1, behind - 2), value, (last or #text + 1) - 1)
    from = last
  end
end

-- Markers that clients move from message to message are no part of what is said.
local function Plain(text)
  return (text:gsub(',?%s*"cache_control"%s*:%s*%b{}', ''))
end

-- The contents of the array's messages up to the first of a user, that one among them.
local function Opening(text, at)
  local parts = {}
  local from = text:match('^%s*%[()', at)
  while from do
    local element = text:match('^[%s,]*(){', from)
    if not element then break end
    local role, content = nil, ''
    EachMember(text, element, function(name, first, last)
      if name == 'role' then role = text:sub(first + 1, last - 1) end
      if name == 'content' then content = Plain(text:sub(first, last)) end
    end)
    parts[#parts + 1] = content
    if role == 'user' then break end
    from = SkipValue(text, element)
  end
  return table.concat(parts, '\n')
end

local function Conversation(body)
  local found = {}
  EachMember(body, 1, function(name, first, last)
    if name == 'prompt_cache_key' then
      found.key = body:sub(first, last)
    elseif name == 'system' or name == 'instructions' then
      found.system = Plain(body:sub(first, last))
    elseif name == 'messages' or name == 'input' then
      local opening = Opening(body, first)
      found.opening = opening ~= '' and opening or body:sub(first, math.min(last, first + kMost))
    elseif name == 'prompt' then
      found.opening = body:sub(first, math.min(last, first + kMost))
    end
  end)
  if found.key and #found.key > 2 and found.key ~= 'null' then return found.key:sub(1, kMost) end
  if found.opening then return ((found.system or '') .. '\n' .. found.opening):sub(1, kLongest) end
  return body:sub(1, kMost)
end

core.register_converters('conversation', Conversation)
