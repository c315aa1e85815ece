"""The domain: one-time codes, requests, consent and delivery. Standard library only.

Nothing here knows HTTP, a messenger or a database; they are reached through `otp.ports`.
"""
