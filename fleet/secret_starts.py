"""How tokens begin that can be told by their beginning alone. Pure.

A test compares the list with Kingfisher's rules: what a newer version knows, and this does not, turns it red.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

_STARTS: Final = """
npm_ pypi- rubygems_ dckr_pat_ dckr_oat_ packagist_ort_ packagist_out_ packagist_acs_ packagist_ack_ glpat-
gldt- glrt- glptt- glcbt- glft- glagent- gloas- glsoat- glimt- glffct- glwt- BBDC- CLOJARS_ sgp_ CCIPAT_
CCIPRJ_ bkaa_ bkaj_ bkar_ bkct_ bkpt_ bkpat_ bkps_ bkua_ sqp_ squ_ sqa_ mergify_application_key_ AIK_CI_
AIK_SECRET_ csa_ waka_ SWMTKN-1- SWMKEY-1-

hf_ gsk_ xai- r8_ pplx- tgp_v1_ csk- fw_ fc- pa- lsv2_pt_ lsv2_sk_ pcsk_ nvapi- jina_ tvly- e2b_ crsr_
wandb_v1_ llx- apk_ apify_api_ bb_live_ rpa_ sk_car_ AQ. bedrock-api-key- api_org_ cog_

GOCSPX- ya29. dop_v1_ doo_v1_ dor_v1_ cfut_ cfat_ cfk_ vcp_ vca_ vcr_ vci_ vck_ nfp_ nfc_ nfo_ nfb_ nfu_ fm1_
fm2_ fo1_ rnd_ HRKU- sbp_ sb_secret_ pscale_tkn_ pscale_pw_ pscale_oauth_ napi_ CCDB1_ mdb_sa_sk_ essu_ tk-us-
ucat_ ddp_ ddo_ ico- pul- hvs. hvb. dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit. tskey-api- tskey-auth-
tskey-client- STS. ion_

glc_ glsa_ sntrys_ sntryu_ NRAK- NRII- dt0c01. phx_ SG. re_ xkeysib- mlsn. os_v2_app_ os_v2_org_ nyk_
dvc_server_

lin_api_ lin_oauth_ ntn_ secret_ figd_ PMAK- PMAT- CFPAT- pnu_ rdme_ rootly_ vtwn_ unkey_ zpka_ tfp_
samsara_api_ lip_ sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_ whsec_ shpat_ shpca_ shppa_ shpss_
sq0atp- sq0csp- shippo_live_ shippo_test_ duffel_live_ duffel_test_ FLWSECK_TEST- mercury_production_
pdl_live_apikey_ ramp_sec_ xnd_production_ persona_production_ polar_at_ polar_oat_ polar_pat_ pina_ fio-u-
sm_aat_ sm_pat_ sm_sat_ s-s4t2ud- s-s4t2af- p8e- prf_ tss_ API- api_live. api_live_ca. api_live_us.
"""
STARTS: Final = tuple(_STARTS.split())
"""Each ends with ``_``, ``-`` or ``.``. By subject: code and packages, models, clouds, what is watched and sent,
work and money."""

_RUN: Final = "[A-Za-z0-9_+/-]"


def _hint(end: str) -> str:
    """Matches the last character of a beginning. What is before it is only looked at where enough follows: a search
    for each beginning would take twenty times as long."""
    groups = defaultdict(list)
    for start in STARTS:
        if start.endswith(end):
            groups[start[-2:]].append(f"(?<={re.escape(start)})")
    every = "|".join(f"(?<={re.escape(last)})(?:{'|'.join(each)})" for last, each in sorted(groups.items()))
    return f"{re.escape(end)}(?={_RUN}{{16}})(?:{every})"


_HINTS: Final = tuple(map(_hint, "_-."))
STARTS_BYTES: Final = tuple(re.compile(pattern.encode()) for pattern in _HINTS)
_STARTS_SEARCHES: Final = tuple(re.compile(pattern).search for pattern in _HINTS)


def may_have_token(text: str) -> bool:
    """False only where :data:`TOKEN` cannot match."""
    return any(search(text) for search in _STARTS_SEARCHES)


#: Behind it letters and digits without a break, or with capitals and digits: no name in code begins so.
TOKEN: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, STARTS))})"
    rf"(?:(?=[a-z]{{0,23}}[A-Z0-9])[A-Za-z0-9]{{16}}|(?={_RUN}{{0,40}}\d)(?={_RUN}{{0,40}}[A-Z]){_RUN}{{16}})"
    rf"{_RUN}*+(?:[.=~]{_RUN}++)*+=*+"
)

#: Those that have another form, and addresses that are secrets.
OTHERS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:ABSK[\w+/]{60,}+=*+|AT[AC]TT3[\w=-]{40,}+|ATBB[A-Za-z0-9]{28,}+|AGE-SECRET-KEY-1[A-Z0-9]{40,}+"
    r"|AKCp[A-Za-z0-9]{60,}+|AKID[A-Za-z0-9]{32}|AQVN[\w-]{30,}+|LTAI[A-Za-z0-9]{17,24}(?![A-Za-z0-9])"
    r"|EAA[\w-]{60,}+|EZ[AT]K[A-Za-z0-9]{54}|dapi[a-f0-9]{32}|(?:ops_|sk\.)eyJ[\w+/=.-]{40,}+"
    r"|1//0[\w-]{40,}+|[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,}+|[\w.~-]{3}\dQ~[\w.~-]{31,}+|[A-Za-z0-9]{76}AZDO\w{4}"
    r"|SK[0-9a-f]{32}(?!\w)|key-[0-9a-f]{32}(?!\w)|[0-9a-f]{32}-us\d{1,2}(?!\w)|sk_[0-9a-f]{40,}+|sha256~[\w-]{43}"
    r"|dp\.st\.[\w-]{1,40}\.\w{40,}+|snyk_[us]at\.\w{8}\.[\w-]{20,}+|sl\.[\w-]{100,}+"
    r"|[MNO][A-Za-z0-9]{22,27}\.[\w-]{6}\.[\w-]{27,40}(?![\w-])|AstraCS:\w{20,}+)"
    r"|(?P<keep>(?:Account|SharedAccess)Key=|[?&]sig=|discord(?:app)?\.com/api/webhooks/\d{1,20}/"
    r"|webhook\.office\.com/webhookb2/|hooks\.zapier\.com/hooks/catch/|/build_hooks/)[\w+/%@=-]{14,}+"
)
#: What each of them contains. By their first letter: a pattern with one first letter is looked for fastest.
_CONTAINED: Final = (
    r"A(?:BSK|T[AC]TT3|TBB|GE-SECRET-KEY-1|KCp|KID|QVN|ZDO|c(?:count|cess)Key=|straCS:)",
    *("E(?:AA|Z[AT]K)", "LTAI", "Q~", "SK[0-9a-f]{16}", "1//0", r"\.atlasv1\.", r"-us\d"),
    *(rf"{letter}[A-Za-z0-9]{{22,27}}\.[\w-]{{6}}\." for letter in "MNO"),
    *(r"d(?:api[0-9a-f]|p\.st\.)", "key-[0-9a-f]{16}", "hooks[./]", "webhook(?:s/|[.]office)", "eyJ"),
    r"s(?:k_[0-9a-f]{16}|ha256~|nyk_[us]|l\.[\w-]{60}|ig=)",
)
OTHERS_BYTES: Final = tuple(re.compile(pattern.encode()) for pattern in _CONTAINED)
_SEARCHES: Final = tuple(re.compile(pattern).search for pattern in _CONTAINED)
_SHORTEST: Final = 20


def may_have_others(text: str) -> bool:
    """False only where :data:`OTHERS` cannot match."""
    return len(text) >= _SHORTEST and any(search(text) for search in _SEARCHES)
