"""bin/web: the bank in a browser and over HTTP; a client like any other, in a process of its own.

`create_app` (app.py) makes the application from a `Bank` (bank.py) and a list of pages (pages.py). What every
request must pass is in guard.py, JSON over HTTP in api.py, its description in openapi.py, and the stream of
postings in events.py. What is sent to browsers is in static/.
"""
