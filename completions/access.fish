complete --keep-order --exclusive --command access --arguments "(_ACCESS_COMPLETE=fish access -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
