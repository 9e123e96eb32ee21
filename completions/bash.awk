# SPDX-License-Identifier: MIT
#
# The completion for bash, of the two files that make-completions writes.
function single(text) { gsub(/\047/, "\047\\\047\047", text); return "\047" text "\047" }
FILENAME ~ /commands$/ {
	if (sub(/^policy /, ""))
		subcommands = subcommands " " $1
	else
		commands = commands " " $1
	next
}
$2 == "" { operands = operands sprintf("    %s) _twshim_values %s ;;\n", single($1), single($4)); next }
{
	options[$1] = options[$1] " --" $2
	pattern = single($1 " --" $2) ($3 == "" ? "" : "|" single($1 " -" $3))
	if ($4 != "")
		values = values sprintf("    %s) _twshim_values %s; return ;;\n", pattern, single($4))
}
END {
	print "# Completion of twshim for bash. Made from the tables of options by completions/bash.awk."
	print "_twshim_values() {"
	print "    case $1 in"
	print "    words:*) COMPREPLY=($(compgen -W \"${1#words:}\" -- \"$word\")) ;;"
	print "    file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")) ;;"
	print "    directory) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$word\")) ;;"
	print "    process) COMPREPLY=($(compgen -W \"$(ps -eo pid= 2>/dev/null)\" -- \"$word\")) ;;"
	print "    command) COMPREPLY=($(compgen -c -- \"$word\")) ;;"
	print "    unit) COMPREPLY=($(compgen -W \"$(systemctl list-unit-files --type=service \\"
	print "        --no-legend --plain 2>/dev/null | sed 's/\\.service .*//')\" -- \"$word\")) ;;"
	print "    application) COMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" ps --all 2>/dev/null |"
	print "        awk 'NR > 1 { print $2 }')\" -- \"$word\")) ;;"
	print "    esac"
	print "}"
	print "_twshim() {"
	print "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} i"
	print "    local command=${COMP_WORDS[1]} first=2"
	print "    COMPREPLY=()"
	print "    if ((COMP_CWORD == 1)); then"
	print "        _twshim_values 'words:" substr(commands, 2) " --help --version'"
	print "        return"
	print "    fi"
	print "    if [[ $command == policy ]]; then"
	print "        if ((COMP_CWORD == 2)); then"
	print "            _twshim_values 'words:" substr(subcommands, 2) " --help'"
	print "            return"
	print "        fi"
	print "        command=\"policy ${COMP_WORDS[2]}\" first=3"
	print "    fi"
	print "    # bash makes \"=\" a word of its own."
	print "    if [[ $word == = ]]; then"
	print "        word="
	print "    elif [[ $before == = ]]; then"
	print "        before=${COMP_WORDS[COMP_CWORD - 2]}"
	print "    fi"
	print "    # What follows -- is another command's."
	print "    for ((i = first; i < COMP_CWORD; i++)); do"
	print "        if [[ ${COMP_WORDS[i]} == -- ]]; then"
	print "            if ((i + 1 < COMP_CWORD)) && declare -F _command_offset >/dev/null; then"
	print "                _command_offset $((i + 1))"
	print "            elif ((i + 1 < COMP_CWORD)); then"
	print "                _twshim_values file"
	print "            else"
	print "                _twshim_values command"
	print "            fi"
	print "            return"
	print "        fi"
	print "    done"
	print "    case \"$command $before\" in"
	printf "%s", values
	print "    esac"
	print "    if [[ $word == -* ]]; then"
	print "        case $command in"
	for (command in options)
		sorted[++count] = command
	for (i = 2; i <= count; i++)  # insertion sort: the order of awk's arrays is not defined
		for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) {
			other = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = other
		}
	for (i = 1; i <= count; i++)
		printf "        %s) _twshim_values %s ;;\n", single(sorted[i]), \
			single("words:" substr(options[sorted[i]], 2))
	print "        esac"
	print "        return"
	print "    fi"
	print "    case $command in"
	printf "%s", operands
	print "    esac"
	print "}"
	print "complete -F _twshim twshim"
}
