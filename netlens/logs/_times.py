"""Times as logs write them: ISO 8601, epoch, those of Go, syslog, ctime, JavaScript, Java, web servers, and of programs that write dates as their country
does. They are UTC unless they name a zone.

A time without a date is one of 1970-01-01, one without a year is one of 1972, until :func:`nearest` places it.
"""

import re
from calendar import isleap
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
_YEARLESS = 1972  #: a leap year
YEARLESS_NS = int(datetime(_YEARLESS, 1, 1, tzinfo=UTC).timestamp()) * SECOND
#: times before lack their date, or their year; logs of years pass many
UNDATED_NS = int(datetime(_YEARLESS + 8, 1, 1, tzinfo=UTC).timestamp()) * SECOND
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAMES, _DAYS = "|".join(_MONTHS), "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_CLOCK = r"\d\d:\d\d:\d\d"
#: Any of them but epochs, which are no times to every format.
TIME = (
    rf"(?:\d{{4}}-\d\d-\d\d[T ]{_CLOCK}(?:[.,]\d{{1,9}})?(?:\s?Z|\s?[+-]\d\d:?\d\d)?"
    rf"|20\d{{6}}[T -]\d\d:?\d\d:?\d\d(?:[.,]\d{{1,9}})?(?:Z|[+-]\d\d:?\d\d)?"
    rf"|(?:{_DAYS}) \d{{4}}-\d\d-\d\d {_CLOCK}(?:\.\d{{1,9}})?(?: UTC)?"
    rf"|(?:(?:{_DAYS}),? )?\d{{1,2}}[ -](?:{_NAMES})[ -]\d{{4}} {_CLOCK}(?:[.,]\d{{1,9}})?(?: [AP]M)?(?: (?:GMT|UTC|[+-]\d{{4}}))?"
    rf"|\d{{4}}/\d\d/\d\d {_CLOCK}(?:[.,]\d{{1,9}})?"
    rf"|\d\d/(?:{_NAMES})/\d{{4}}:{_CLOCK}(?:\.\d{{1,9}})?(?: [+-]\d{{4}})?"
    rf"|\d{{1,2}}[/.]\d{{1,2}}[/.](?:\d{{4}}|\d\d),? \d{{1,2}}:\d\d:\d\d(?:\s?[AP]M)?"
    rf"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?:{'|'.join(_MONTHS)}) [ \d]\d \d{{4}} {_CLOCK} GMT[+-]\d{{4}}"
    rf"|(?:{'|'.join(_MONTHS)}) \d{{1,2}}, \d{{4}},? \d{{1,2}}:\d\d:\d\d(?:[\s\u202f]?[AP]M)?"
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?:{'|'.join(_MONTHS)}) [ \d]\d {_CLOCK}(?:\.\d{{1,9}})?(?: (?:UTC |GMT )?\d{{4}}\b)?"
    rf"|{_CLOCK}(?:[.,]\d{{1,9}})?)"
)
_PARTS = re.compile(
    rf"(?:(?:(?:{_DAYS}) )?(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]"
    r"|(?P<packed>\d{8})[T -]"
    rf"|(?:(?:{_DAYS}),? )?(?P<on_day>\d{{1,2}})[ -](?P<in_month>{_NAMES})[ -](?P<in_year>\d{{4}}) "
    r"|(?P<first>\d{1,2})(?P<mark>[/.])(?P<second>\d{1,2})[/.](?P<of>\d{4}|\d\d),? "
    rf"|(?P<begun>\d\d)/(?P<called>{'|'.join(_MONTHS)})/(?P<in>\d{{4}}):"
    rf"|(?P<spelled>{'|'.join(_MONTHS)}) (?P<on>\d{{1,2}}), (?P<since>\d{{4}}),? "
    r"|(?P<numbers>\d{4}) "
    rf"|(?:[A-Z][a-z][a-z] )?(?P<name>{'|'.join(_MONTHS)}) (?P<its>[ \d]\d) (?:(?P<then>\d{{4}}) )?)?"
    r"(?P<h>\d{1,2}):?(?P<m>\d\d):?(?P<s>\d\d)(?:[.,](?P<digits>\d{1,9}))?(?:\s?(?P<half>[AP])M)?(?: (?:UTC |GMT )?(?P<late>\d{4}))?"
    r"\s?(?:GMT|UTC)?(?:Z|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def span(text: str) -> tuple[int, int] | None:
    """First and last instant that are written like this; None if there is no such time."""
    if text[:1] == "1" and not re.search("[-/:]", text):  # epoch: seconds with a fraction, or 10, 13, 16 or 19 digits
        whole, _, fraction = text.partition(".")
        unit = 10 ** (19 - len(whole))
        step = 10 ** (9 - len(fraction)) if fraction else unit
        at = int(whole) * unit + (int(fraction) * step if fraction else 0)
        return at, at + step
    found = _PARTS.fullmatch(text)
    if not found:
        return None
    second = int(found["s"])
    try:
        leap = second == 60  # RFC 3339 allows it; a log may repeat the second instead
        hour = int(found["h"]) % 12 + 12 * (found["half"] == "P") if found["half"] else int(found["h"])
        when = datetime(*_date(found), hour, int(found["m"]), second - leap, tzinfo=UTC) + timedelta(seconds=leap)
        if found["sign"]:
            zone = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
            when = when - zone if found["sign"] == "+" else when + zone
    except (ValueError, OverflowError):
        return None
    digits = found["digits"] or ""
    step = 10 ** (9 - len(digits))
    at = int((when - _EPOCH).total_seconds()) * SECOND + (int(digits) * step if digits else 0)
    return (at, at + step) if at >= 0 and when.year < 2262 else None  # beyond, nanoseconds do not fit into int64


def _date(found: re.Match[str]) -> tuple[int, int, int]:
    """Year, month and day. Of 1/2/2026 the month is first where hours are counted to 12, as in the United States."""
    if found["year"]:
        return int(found["year"]), int(found["month"]), int(found["day"])
    if found["of"]:
        first, second = int(found["first"]), int(found["second"])
        american = found["mark"] == "/" and (found["half"] is not None or len(found["of"]) == 2)  # as Python's rich writes it, too
        month_first = second > 12 or (american and first <= 12)
        return int(found["of"]) + 2000 * (len(found["of"]) == 2), *((first, second) if month_first else (second, first))
    if found["packed"]:
        return int(found["packed"][:4]), int(found["packed"][4:6]), int(found["packed"][6:])
    if found["in_month"]:
        return int(found["in_year"]), 1 + _MONTHS.index(found["in_month"]), int(found["on_day"])
    if found["called"]:
        return int(found["in"]), 1 + _MONTHS.index(found["called"]), int(found["begun"])
    if found["spelled"]:
        return int(found["since"]), 1 + _MONTHS.index(found["spelled"]), int(found["on"])
    if found["numbers"]:
        return _YEARLESS, int(found["numbers"][:2]), int(found["numbers"][2:])
    if found["name"]:
        return int(found["late"] or found["then"] or _YEARLESS), 1 + _MONTHS.index(found["name"]), int(found["its"])
    return 1970, 1, 1


def nearest(at: int, to: int) -> int:
    """The instant nearest to ``to`` that is written like ``at``; ``at`` itself if that has date and year."""
    if at >= UNDATED_NS:
        return at
    if at < YEARLESS_NS:
        return at + (to - at + DAY // 2) // DAY * DAY
    when = _EPOCH + timedelta(seconds=at // SECOND)
    year = (_EPOCH + timedelta(seconds=to // SECOND)).year
    years = [each for each in range(year - 4, year + 5) if (when.month, when.day) != (2, 29) or isleap(each)]
    found = [int((when.replace(year=each) - _EPOCH).total_seconds()) * SECOND + at % SECOND for each in years]
    return min(found, key=lambda each: abs(each - to))
