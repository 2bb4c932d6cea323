"""Who may ask, how often, and what is written down of it: the gate in front of the service.

Keys, tokens, networks, rates and the audit log know nothing of models, and of HTTP no more than
ASGI. Encryption at rest is :mod:`recprune.envelope`'s; TLS, the number of connections, and the time
that headers may take are the server's.
"""

from recprune.security.access import Access, Doorkeeper, OpenAccess
from recprune.security.audit import Audit, AuditUnavailable, Verification, verify
from recprune.security.callers import Caller, Denied
from recprune.security.gate import Gate
from recprune.security.keys import SCOPES, ApiKey, KeyStore
from recprune.security.networks import Client, Networks, is_loopback
from recprune.security.policy import Bounds, Limits, NetworkRules, Policy
from recprune.security.rates import Rates
from recprune.security.tokens import Tokens
from recprune.security.watched import Watched

__all__ = [
    "SCOPES",
    "Access",
    "ApiKey",
    "Audit",
    "AuditUnavailable",
    "Bounds",
    "Caller",
    "Client",
    "Denied",
    "Doorkeeper",
    "Gate",
    "KeyStore",
    "Limits",
    "NetworkRules",
    "Networks",
    "OpenAccess",
    "Policy",
    "Rates",
    "Tokens",
    "Verification",
    "Watched",
    "is_loopback",
    "verify",
]
