"""A local WhatsApp Web: the page, the server behind it, and the phone that scans.

The real one is out of reach of tests. This one is faithful when clients that nobody here
wrote cannot tell: unmodified `@wppconnect/wa-js` and `whatsapp-web.js` run against it from
QR code to logout.

| Part | Where |
|---|---|
| the page: WhatsApp's module system and the modules that clients look for | `page/` |
| who exists: accounts, linked devices, contacts, groups | `directory.py` |
| every message in order of arrival, and what each device has yet to get | `ledger.py` |
| the rules: take once, deliver to all, conflicts, unlinking | `switchboard.py`, `receipts.py` |
| QR codes and codes typed on the phone | `pairing.py` |
| one page's socket | `connection.py` |
| misbehaviour on request | `knobs.py` |
| what a test or a person may ask for | `control.py` (its table), `verbs.py`, `questions.py` |
| the phone as a Python client, and as a web page | `phone.py`, `phone.html` |
| the simulator as a child process, a browser to test with | `process.py`, `browser.py` |

Not simulated yet: media, polls, reactions, calls, status posts, filter tabs, newsletters.
Their place is `page/modules/unsimulated.js`.
"""
