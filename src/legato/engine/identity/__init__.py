"""Which call is which: of everything that a flow calls, what it is called with, on what, where, after what; and what an earlier attempt knows of it.

`calls` says what a call is, `lanes` after what it was made, `ledger` what is known of it. The decisions are `core.resume`'s, what a value is
`core.identity`'s; the code a function is made of comes from whoever calls.
"""
