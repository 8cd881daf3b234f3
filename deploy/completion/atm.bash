# bash completion of atm, printed by: atm --completion bash
_atm() {
    local words
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        --config) words="" ;;
        --account) words="" ;;
        --cert) words="" ;;
        --key) words="" ;;
        -c) words="query credit debit transfer statement more days balance hold holds confirm raise cancel reverse receipt open account login logout pin settle status help quit freeze unfreeze unlock resetpin limit ceiling writeoff close exceptions accounts approvals approve" ;;
        -f) words="" ;;
        --id) words="" ;;
        --timeout) words="" ;;
        --idle) words="" ;;
        --completion) words="bash zsh fish" ;;
        *) words="-h --help --version --config --account --cert --key -c -f --id --json --csv --timeout --idle --no-pager --tombstone --operator --completion" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _atm atm  # where it offers nothing, the names of files
