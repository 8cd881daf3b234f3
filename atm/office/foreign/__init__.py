"""Other programs' books as requests to the bank: a bank's CSV, hledger and beancount; see docs/ledger.md.

Readers make `Entry` of text; `requests.py` makes requests of entries; `survey.py` says what would be booked:
all that without the bank. `funds.py` asks it whether the money is there. Only then anything is booked.
"""
