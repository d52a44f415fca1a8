#!/bin/bash
# make_page.sh FILE: prints the status page as C++: kPageHtml, its bytes, and kPagePolicy, a
# Content-Security-Policy that allows its one <style> and its one <script> by their hashes. Each of
# the four tags stands alone on its line.
set -eu

page=$1
bytes_max=40960

bytes=$(wc -c <"$page")
if [ "$bytes" -gt "$bytes_max" ]; then
  echo "$page: $bytes bytes, at most $bytes_max are allowed" >&2
  exit 1
fi

# What a browser hashes: everything between the tags, the first line's end included.
hash_of() {
  local hex
  if [ "$(grep -c "^<$1>$" "$page")" -ne 1 ] || [ "$(grep -c "^</$1>$" "$page")" -ne 1 ]; then
    echo "$page: wants one <$1> and one </$1>, each on a line of its own" >&2
    return 1
  fi
  hex=$(sed -n "/^<$1>$/,/^<\/$1>$/p" "$page" | sed '1s/.*//; $d' | sha256sum)
  # shellcheck disable=SC2059  # the bytes of the hash are the format
  printf "$(sed 's/ .*//; s/../\\x&/g' <<<"$hex")" | base64
}

script=$(hash_of script)
style=$(hash_of style)
policy="default-src 'none'; script-src 'sha256-$script'; style-src 'sha256-$style'; connect-src"
policy+=" 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

printf 'constexpr std::string_view kPagePolicy =\n    "%s";\n' "$policy"
printf 'constexpr std::string_view kPageHtml = R"page('
cat "$page"
printf ')page";\n'
