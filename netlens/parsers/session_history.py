"""The history of a session: one letter for what each side did, in order, as Zeek writes it.

Capital letters are the originator's, small ones the responder's; ``^`` says that the roles were told from ports. A thing that goes on (data, say) has one
letter; retransmissions and zero windows have one more for each power of ten. Letters are five bits each, in four numbers of the session state.
"""

import numpy as np

from netlens.columns import Array
from netlens.parsers.session_state import HISTORY, HISTORY_COUNT, HISTORY_SEEN
from netlens.wire.compiled import inlined, lean

#: By code: ``^``, then what a side did, the originator's letter and the responder's.
LETTERS = "^SsHhAaDdFfRrTtWwGgIiQq"
FLIP = 0
#: Codes of the originator's letters; the responder's are one higher. INCONSISTENT: FIN with RST. MULTI_FLAG: SYN with one of them. (Zeek's names)
SYN, SYNACK, ACK, DATA, FIN, RST, RETRANSMIT, ZERO_WINDOW, GAP, INCONSISTENT, MULTI_FLAG = range(1, 23, 2)
LETTERS_PER_WORD, MAX_LETTERS = 12, 48
_ANY = 60  # a bit of the first number that no letter has


@lean
def add(s, code):
    n = s[HISTORY_COUNT]
    s[HISTORY_COUNT] = n + 1
    if n < MAX_LETTERS:
        s[HISTORY + n // LETTERS_PER_WORD] |= np.int64(code) << (5 * (n % LETTERS_PER_WORD))


@lean
def add_once(s, code):
    bit = np.int64(1) << code
    if not s[HISTORY_SEEN] & bit:
        s[HISTORY_SEEN] |= bit
        add(s, code)


@inlined
def first_word(s):
    """The first number of the letters, and whether there is a letter at all: a session may have none, and ``^`` is 0."""
    return s[HISTORY] | np.int64(s[HISTORY_COUNT] > 0) << _ANY


def texts(words: Array) -> Array:
    """object[n] of str.  words : int64[n, 4], :func:`first_word` and the other numbers of the letters."""
    out = np.empty(len(words), dtype=object)
    for i, word in enumerate(words.tolist()):
        letters = [(word[k // LETTERS_PER_WORD] >> (5 * (k % LETTERS_PER_WORD))) & 31 for k in range(MAX_LETTERS)]
        n = max((k + 1 for k, code in enumerate(letters) if code), default=word[0] >> _ANY)
        out[i] = "".join(LETTERS[code] for code in letters[:n])
    return out
