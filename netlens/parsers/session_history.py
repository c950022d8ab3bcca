"""The history of a session: one letter for what each side did, in order, as Zeek writes it.

Capital letters are the originator's, small ones the responder's; ``^`` says that the roles were told from ports. A thing that goes on (data, say) has one
letter; retransmissions and zero windows have one more for each power of ten. Letters are five bits each: twelve in a number of the session state,
the others in three of its rare ones.
"""

import numpy as np

from netlens.columns import Array
from netlens.parsers.session_state import HISTORY, HISTORY_SEEN, LETTERS_SHIFT, MORE_HISTORY, RARE, rare_row
from netlens.wire.compiled import inlined, lean

#: By code: ``^``, then what a side did, the originator's letter and the responder's.
LETTERS = "^SsHhAaDdFfRrTtWwGgIiQq"
FLIP = 0
#: Codes of the originator's letters; the responder's are one higher. INCONSISTENT: FIN with RST. MULTI_FLAG: SYN with one of them. (Zeek's names)
SYN, SYNACK, ACK, DATA, FIN, RST, RETRANSMIT, ZERO_WINDOW, GAP, INCONSISTENT, MULTI_FLAG = range(1, 23, 2)
LETTERS_PER_WORD, MAX_LETTERS = 12, 48
_ANY = 60  # a bit of the first number that no letter has


@lean
def add(s, code, sparse):
    n = s[HISTORY_SEEN] >> LETTERS_SHIFT
    if n == MAX_LETTERS:
        return
    s[HISTORY_SEEN] += np.int64(1) << LETTERS_SHIFT
    letter = np.int64(code) << (5 * (n % LETTERS_PER_WORD))
    if n < LETTERS_PER_WORD:
        s[HISTORY] |= letter
    else:
        sparse.rare[rare_row(s, sparse), MORE_HISTORY + n // LETTERS_PER_WORD - 1] |= letter


@lean
def add_once(s, code, sparse):
    bit = np.int64(1) << code
    if not s[HISTORY_SEEN] & bit:
        s[HISTORY_SEEN] |= bit
        add(s, code, sparse)


@inlined
def first_word(s):
    """The first number of the letters, and whether there is a letter at all: a session may have none, and ``^`` is 0."""
    return s[HISTORY] | np.int64(s[HISTORY_SEEN] >> LETTERS_SHIFT > 0) << _ANY


@inlined
def word(s, k, sparse):
    """The number ``k`` of the letters, 1 to 3."""
    return sparse.rare[s[RARE], MORE_HISTORY + k - 1]


def texts(words: Array) -> Array:
    """object[n] of str.  words : int64[n, 4], :func:`first_word` and the other numbers of the letters."""
    out = np.empty(len(words), dtype=object)
    for i, word in enumerate(words.tolist()):
        letters = [(word[k // LETTERS_PER_WORD] >> (5 * (k % LETTERS_PER_WORD))) & 31 for k in range(MAX_LETTERS)]
        n = max((k + 1 for k, code in enumerate(letters) if code), default=word[0] >> _ANY)
        out[i] = "".join(LETTERS[code] for code in letters[:n])
    return out
