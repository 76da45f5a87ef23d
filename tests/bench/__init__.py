"""`make bench`: what each part costs, beside what it is made of and beside its peer.

| What | Where |
|---|---|
| the way of a send, stage by stage; status reads | `sending.py` |
| whatsapp-web.js on the same simulator and Chromium | `peers.py`, `whatsapp_web_js.mjs` |
| log appends beside raw JetStream | `appends.py` |
| rebuilding the read models from 100,000 events | `rebuilding.py` |
| rows, medians and ratios; the table and the JSON | `rows.py`, `__main__.py` |
"""
