# Which includes of project headers a file does without: none of the functions, types, constants,
# variables and macros that the very header declares, not one that it includes, stands in the file.
#
#   awk -f tests/includes.awk FILE...      in the root of the source tree; a line for each

function is_keyword(word) {
  return word ~ /^(__attribute__|typedef|struct|enum|union|extern|static|inline|const|volatile|_Alignas|_Noreturn|return|sizeof)$/
}

# Without comments, strings and characters; `comment` goes on from line to line.
function code_of(line,   start, rest, end) {
  if (comment) {
    end = index(line, "*/")
    if (end == 0)
      return ""
    line = substr(line, end + 2)
    comment = 0
  }
  gsub(/\\\\/, "", line)
  gsub(/\\"/, "", line)
  gsub(/"[^"]*"/, " ", line)
  gsub(/'[^']*'/, " ", line)
  while ((start = index(line, "/*")) > 0) {
    rest = substr(line, start + 2)
    end = index(rest, "*/")
    if (end == 0) {
      comment = 1
      return substr(line, 1, start - 1)
    }
    line = substr(line, 1, start - 1) " " substr(rest, end + 2)
  }
  sub(/\/\/.*/, "", line)
  return line
}

function declare(header, word) {
  if (word != "" && !is_keyword(word))
    declared[header] = declared[header] " " word
  named = 1
}

function statement_ends() {
  words = named = first_is_typedef = body = 0
  last = before = ""
}

# Declarations stand outside braces and parentheses, constants in an enum's braces.
function take(header, token) {
  if (token ~ /^[A-Za-z_]/) {
    if (depth == 0 && parentheses == 0) {
      before = last
      last = token
      if (words++ == 0)
        first_is_typedef = token == "typedef"
    } else if (in_enum && depth == 1 && parentheses == 0 && (previous == "{" || previous == ","))
      declare(header, token)
  } else if (token == "(") {
    if (depth == 0 && parentheses == 0 && !named && previous == last && last != "__attribute__")
      declare(header, last)
    parentheses++
  } else if (token == ")")
    parentheses--
  else if (token == "[") {
    if (depth == 0 && parentheses == 0 && !named)
      declare(header, last)
  } else if (token == "{" && depth == 0 && last == "extern")
    statement_ends() # extern "C"
  else if (token == "{") {
    if (depth++ == 0) {
      body = named
      in_enum = last == "enum" || before == "enum"
      if (before ~ /^(struct|enum|union)$/)
        declare(header, last)
      named = body
      last = before = ""
    }
  } else if (token == "}") {
    if (depth > 0 && --depth == 0 && body)
      statement_ends()
  } else if (token == ";" && depth == 0 && parentheses == 0) {
    if (!named && (words > 2 || first_is_typedef))
      declare(header, last)
    statement_ends()
  }
  previous = token
}

function read_header(header,   line, name) {
  declared[header] = ""
  statement_ends()
  depth = parentheses = comment = in_enum = directive = 0
  previous = ""
  while ((getline line < header) > 0) {
    line = code_of(line)
    if (directive || line ~ /^[ \t]*#/) {
      if (!directive && match(line, /^[ \t]*#[ \t]*define[ \t]+[A-Za-z_][A-Za-z_0-9]*/)) {
        name = substr(line, 1, RLENGTH)
        sub(/.*[ \t]/, "", name)
        declare(header, name)
        named = 0
      }
      directive = line ~ /\\[ \t]*$/
      continue
    }
    while (match(line, /[A-Za-z_][A-Za-z_0-9]*|[(){};\[,=*]/)) {
      take(header, substr(line, RSTART, RLENGTH))
      line = substr(line, RSTART + RLENGTH)
    }
  }
  close(header)
}

function path_of(name,   line, path, i, roots) {
  if (name in paths)
    return paths[name]
  split("src/ ./", roots, " ")
  paths[name] = ""
  for (i = 1; i <= 2 && paths[name] == ""; i++) {
    path = (i == 1 ? "src/" : "") name
    if ((getline line < path) >= 0)
      paths[name] = path
    close(path)
  }
  if (paths[name] != "")
    read_header(paths[name])
  return paths[name]
}

function check(file,   line, code, count, i, names, lines, words_of, w, used, seen, header, text) {
  comment = count = 0
  text = ""
  while ((getline line < file) > 0) {
    i++
    if (!comment && line ~ /^[ \t]*#[ \t]*include[ \t]*"/) {
      names[++count] = line
      sub(/^[^"]*"/, "", names[count])
      sub(/".*/, "", names[count])
      lines[count] = i
      continue
    }
    code = code_of(line)
    while (match(code, /[A-Za-z_][A-Za-z_0-9]*/)) {
      used[substr(code, RSTART, RLENGTH)] = 1
      code = substr(code, RSTART + RLENGTH)
    }
  }
  close(file)
  for (i = 1; i <= count; i++) {
    header = path_of(names[i])
    if (header == "")
      continue
    seen = 0
    split(declared[header], words_of, " ")
    for (w in words_of)
      seen = seen || (words_of[w] in used)
    if (!seen)
      printf "%s:%d: nothing of \"%s\" is used\n", file, lines[i], names[i]
  }
  delete used
}

BEGIN {
  for (argument = 1; argument < ARGC; argument++)
    check(ARGV[argument])
}
