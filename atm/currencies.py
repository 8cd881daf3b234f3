"""The currencies of ISO 4217, and into how many decimals each is divided.

These are part of feature level 2: what an account may be opened in follows from them, on every server. So a
code that is added needs a newer level, and the decimals of one that is here never change: amounts in the
ledger count its minor units.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

FIRST_MINOR_UNITS: Final = 2  # of the bank's first currency, which has no code

_CODES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
        CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ
        GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD
        MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON
        RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
        UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG""",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_UNITS: Final = MappingProxyType(
    {code: decimals for decimals, codes in _CODES.items() for code in codes.split()}
)


def minor_units(currency: str | None) -> int:
    """Return how many decimals an amount has; None is the bank's first currency.

    A code that this release does not know, from the server of a newer one, raises `KeyError`.
    """
    return FIRST_MINOR_UNITS if currency is None else MINOR_UNITS[currency]
