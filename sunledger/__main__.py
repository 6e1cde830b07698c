"""`python -m sunledger`: the same as the command `sunledger`."""

from sunledger.cli import main

main()
