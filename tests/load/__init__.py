"""`make load`: many users, each with a session on a real browser, at work all at once.

| Part | Where |
|---|---|
| how many users, for how long, how often | `plan.py` |
| one run from a cold start to a restart | `run.py` |
| users that link, send, are written to and look | `crowd.py` |
| bursts, creates and deletes, killed browsers, users over their quota | `trouble.py` |
| HTTP, with every request noted | `client.py`, `diary.py` |
| what the live feed tells | `ears.py` |
| CPU, memory, states and lag while it runs | `meters.py` |
| figures of a run, and what was promised | `figures.py`, `promise.py` |
| terminal, JSON, HTML | `report.py`, `charts.py` |

The service, the simulated phones and the ledger are those of `tests.faults`.
"""
