"""Other programs' books as requests to the bank: a bank's CSV, hledger and beancount; see docs/ledger.md.

Readers make `Entry` of text; `requests.py` makes requests of entries; `survey.py` says what would be booked. All
of it is pure, so that everything is known before anything is booked.
"""
