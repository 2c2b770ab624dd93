mptune --manual >mptune.1
if command -v mandoc >/dev/null; then
  mandoc -Tlint -Wwarning mptune.1
else
  echo "mandoc is not there: the man page is not checked" >&2
fi
grep -c '^\.SH' mptune.1
for c in tune observe eval train 'policy show' 'policy check' 'policy diff' 'policy resolve' frontier report doctor formats; do
  grep -q "^\.S[SH] .*$c" mptune.1 || echo "no section of $c"
done
