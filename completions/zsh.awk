# SPDX-License-Identifier: MIT
#
# The completion for zsh, of the two files that make-completions writes.
function single(text) { gsub(/\047/, "\047\\\047\047", text); return "\047" text "\047" }
function plain(text) { gsub(/[\]\[:\\]/, "\\\\&", text); return text }
function action(values) {
	if (values ~ /^words:/)
		return "(" substr(values, 7) ")"
	if (values == "file" || values == "any")
		return values == "any" ? "" : "_files"
	if (values == "directory")
		return "_files -/"
	if (values == "process")
		return "_pids"
	return "_twshim_" values
}
FILENAME ~ /commands$/ {
	line = "        " single($1 ":" $2) "\n"
	if (sub(/^        \047policy /, "        \047", line))
		subcommands = subcommands line
	else
		commands = commands line
	next
}
!($1 in specs) { order[++count] = $1; specs[$1] = "" }
$2 == "" {
	if ($4 == "command")
		operands[$1] = single("(-)1:command: _command_names -e") " " single("*::argument: _normal")
	else if ($4 != "")
		operands[$1] = single("*:value:" action($4))
	next
}
{
	value = $4 == "" ? "" : ":value:" action($4)
	help = "[" plain($5) "]"
	if ($3 == "")
		spec = single("--" $2 ($4 == "" ? "" : "=") help value)
	else
		spec = single("(-" $3 " --" $2 ")") "{-" $3 ($4 == "" ? "" : "+") ",--" $2 \
			($4 == "" ? "" : "=") "}" single(help value)
	specs[$1] = specs[$1] " \\\n            " spec
}
END {
	print "#compdef twshim"
	print "# Completion of twshim for zsh. Made from the tables of options by completions/zsh.awk."
	print "_twshim_unit() {"
	print "    compadd -- ${(f)\"$(systemctl list-unit-files --type=service --no-legend --plain \\"
	print "        2>/dev/null | sed 's/\\.service .*//')\"}"
	print "}"
	print "_twshim_application() {"
	print "    compadd -- ${(f)\"$(_call_program ps twshim ps --all 2>/dev/null | awk 'NR > 1 { print $2 }')\"}"
	print "}"
	print "_twshim() {"
	print "    local -a choices"
	print "    local chosen=$words[2]"
	print "    if (( CURRENT == 2 )); then"
	print "        choices=("
	printf "%s", commands
	print "        )"
	print "        _describe command choices -- '(--help --version)'"
	print "        return"
	print "    fi"
	print "    shift words; (( CURRENT-- ))"
	print "    if [[ $chosen == policy ]]; then"
	print "        if (( CURRENT == 2 )); then"
	print "            choices=("
	printf "%s", subcommands
	print "            )"
	print "            _describe subcommand choices"
	print "            return"
	print "        fi"
	print "        chosen=\"policy $words[2]\""
	print "        shift words; (( CURRENT-- ))"
	print "    fi"
	print "    case $chosen in"
	for (i = 1; i <= count; i++) {
		printf "    %s)\n        _arguments -s -S%s", single(order[i]), specs[order[i]]
		if (order[i] in operands)
			printf " \\\n            %s", operands[order[i]]
		print " ;;"
	}
	print "    esac"
	print "}"
	print "_twshim \"$@\""
}
