"""Passwords everybody knows, as far as a short list can: an extension may ask a service with hundreds of millions."""

import unicodedata

# Long enough to pass the rule on length, and in every attacker's list all the same: keyboard walks, alphabets, examples
# from comics, manuals and standards, lines of songs, films and prayers.
_WELL_KNOWN = """
correcthorsebatterystaple correcthorsebatterystaple1 troubador3correcthorse thisisapassword1234 thisismypassword
thisisnotmypassword mypasswordispassword passwordpassword passwordpassword1 password12345678 password123456789
passw0rdpassw0rd p4ssw0rdp4ssw0rd letmeinletmeinletmein letmeinplease123 changemechangeme changethispassword
pleasechangeme123 administratoradmin administrator123 supersecretpassword mysupersecretpassword verysecretpassword
iloveyouiloveyou iloveyouforever iloveyousomuch123 iloveyouverymuch jesuslovesme123 godisgoodallthetime
qwertyuiopasdfghjklzxcvbnm qwertyuiopasdfghjkl qwertyuiop123456 qwertyuiop1234567890 qwertyqwertyqwerty
qwertzuiopasdfghjklyxcvbnm azertyuiopqsdfghjklmwxcvbn 1234567890qwertyuiop 123456789qwertyuiop 1q2w3e4r5t6y7u8i
1q2w3e4r5t6y7u8i9o0p 1qaz2wsx3edc4rfv 1qaz2wsx3edc4rfv5tgb 1qaz2wsx3edc4rfv5tgb6yhn zaq12wsxzaq12wsx
qazwsxedcrfvtgb qazwsxedcrfvtgbyhnujm zxcvbnmasdfghjkl asdfghjklqwertyuiop abcdefghijklmno abcdefghijklmnop
abcdefghijklmnopqrstuvwxyz abcdefgh12345678 abc123abc123abc123 123456789012345 1234567890123456 12345678901234567890
123123123123123 111111111111111 000000000000000 987654321987654321 0987654321qwertyuiop
thequickbrownfox thequickbrownfoxjumps thequickbrownfoxjumpsoverthelazydog tobeornottobethatisthequestion
maytheforcebewithyou youshallnotpass winteriscoming1 imthebatmanimthebatman onceuponatimeinthewest
toinfinityandbeyond hakunamatataforever supercalifragilisticexpialidocious nevergonnagiveyouup youknownothingjonsnow
itwasthebestoftimes allworkandnoplay inthebeginning123 ourfatherwhoartinheaven fourscoreandsevenyearsago
loremipsumdolorsitamet trustno1trustno1 monkeymonkeymonkey liverpoolfcliverpool manchesterunited realmadridclubdefutbol
bayernmuenchen1900 dragondragon123 sunshinesunshine princessprincess footballfootball
"""


class LocalPasswordList:
    """Compares without regard to case, width, blanks and punctuation: that is the first thing attackers vary."""

    def __init__(self) -> None:
        self._known = frozenset(map(_folded, _WELL_KNOWN.split()))

    async def contains(self, password: str) -> bool:
        return _folded(password) in self._known


def _folded(password: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", password).casefold())
    return "".join(c for c in folded if c.isalnum())
