"""Invented people of many places. No list or person is copied from anywhere; likeness is chance."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from ris.core.names import PersonName


@dataclass(frozen=True)
class Culture:
    """Names that go together. `script` maps a name to (ideographic, phonetic) where a place writes so."""

    weight: int
    language: str
    families: str
    women: str
    men: str
    script: dict[str, tuple[str, str]] = field(default_factory=dict)


CULTURES = (
    Culture(
        30,
        "English",
        "Hill Walker Reed Marsh Fletcher Hobbs Pruitt Langley Whitcomb Dunn Ashford Barlow Colby Deering Everly Frost "
        "Granger Holloway Ives Jessop Kirby Lockwood Merrill Norwood Pell Quimby Rowland Stroud Tolland Underhill",
        "Joan Grace Edith Clara Nora Hazel Ruby Alice Molly Iris Beth Paula Diane Carol Ellen Tess",
        "Walter Henry Arthur George Frank Miles Owen Peter Simon Neil Keith Dale Roy Glen Martin Ross",
    ),
    Culture(
        14,
        "Spanish",
        "Duarte Salinas Montoya Cardenas Villalobos Rosales Figueroa Ibarra Zamora Paredes Quintero Robles Escobar Luna "
        "Aguirre Benavides Cordero Delgado",
        "Silvia Lucia Marisol Ximena Paloma Ines Rocio Beatriz Camila Yolanda Teresa Alma",
        "Mateo Esteban Joaquin Rafael Ignacio Hector Ramiro Andres Tomas Julian Ernesto Gustavo",
    ),
    Culture(
        8,
        "English",
        "Okafor Adeyemi Nwosu Balogun Eze Mensah Owusu Boateng Asante Diallo Traore Okonkwo Achebe Danso",
        "Adaeze Ngozi Amara Folake Abena Efua Yewande Chioma Zainab Akosua",
        "Chidi Kwame Emeka Tunde Kofi Segun Obinna Yaw Babatunde Ikenna",
    ),
    Culture(
        7,
        "Arabic",
        "Haddad Khoury Mansour Najjar Saleh Rahman Farouk Nasser Sabbagh Azzam Bakri Darwish",
        "Layla Nour Salma Rania Huda Mariam Yasmin Dina Amal Samira",
        "Omar Karim Tariq Hassan Ziad Samir Nabil Fadi Jamal Rashid",
    ),
    Culture(
        8,
        "Hindi",
        "Iyer Menon Kapoor Chaudhary Deshpande Banerjee Reddy Pillai Gill Bhatt Saxena Roy Naidu Thakur",
        "Anjali Priya Kavita Meera Lakshmi Sunita Divya Nandini Rekha Pooja",
        "Devan Arjun Vikram Sanjay Rahul Mohan Anil Kiran Suresh Nikhil",
    ),
    Culture(
        6,
        "Chinese",
        "Wang Li Zhang Chen Liu Huang Zhao Wu Zhou Lin",
        "Mei Xiuying Lan Jing Yan Hong Fang Yue",
        "Wei Jun Ming Lei Tao Hao Jian Bo",
        {
            "Wang": ("王", ""),
            "Li": ("李", ""),
            "Zhang": ("张", ""),
            "Chen": ("陈", ""),
            "Liu": ("刘", ""),
            "Huang": ("黄", ""),
            "Zhao": ("赵", ""),
            "Wu": ("吴", ""),
            "Zhou": ("周", ""),
            "Lin": ("林", ""),
            "Mei": ("梅", ""),
            "Xiuying": ("秀英", ""),
            "Lan": ("兰", ""),
            "Jing": ("静", ""),
            "Yan": ("燕", ""),
            "Hong": ("红", ""),
            "Fang": ("芳", ""),
            "Yue": ("月", ""),
            "Wei": ("伟", ""),
            "Jun": ("军", ""),
            "Ming": ("明", ""),
            "Lei": ("磊", ""),
            "Tao": ("涛", ""),
            "Hao": ("浩", ""),
            "Jian": ("建", ""),
            "Bo": ("波", ""),
        },
    ),
    Culture(
        4,
        "Japanese",
        "Sato Suzuki Yamada Tanaka Kobayashi Mori Ishikawa Hayashi",
        "Hanako Yuki Akiko Naomi Haruka Emi",
        "Taro Kenji Hiroshi Takeshi Makoto Ren",
        {
            "Sato": ("佐藤", "さとう"),
            "Suzuki": ("鈴木", "すずき"),
            "Yamada": ("山田", "やまだ"),
            "Tanaka": ("田中", "たなか"),
            "Kobayashi": ("小林", "こばやし"),
            "Mori": ("森", "もり"),
            "Ishikawa": ("石川", "いしかわ"),
            "Hayashi": ("林", "はやし"),
            "Hanako": ("花子", "はなこ"),
            "Yuki": ("由紀", "ゆき"),
            "Akiko": ("明子", "あきこ"),
            "Naomi": ("直美", "なおみ"),
            "Haruka": ("遥", "はるか"),
            "Emi": ("恵美", "えみ"),
            "Taro": ("太郎", "たろう"),
            "Kenji": ("健二", "けんじ"),
            "Hiroshi": ("博", "ひろし"),
            "Takeshi": ("武", "たけし"),
            "Makoto": ("誠", "まこと"),
            "Ren": ("蓮", "れん"),
        },
    ),
    Culture(
        3,
        "Korean",
        "Kim Park Choi Jung Kang",
        "Minji Soyeon Jiwoo Hana",
        "Minho Jisung Donghyun Junho",
        {
            "Kim": ("金", "김"),
            "Park": ("朴", "박"),
            "Choi": ("崔", "최"),
            "Jung": ("鄭", "정"),
            "Kang": ("姜", "강"),
            "Minji": ("敏智", "민지"),
            "Soyeon": ("素妍", "소연"),
            "Jiwoo": ("智友", "지우"),
            "Hana": ("荷娜", "하나"),
            "Minho": ("敏浩", "민호"),
            "Jisung": ("智星", "지성"),
            "Donghyun": ("東賢", "동현"),
            "Junho": ("俊浩", "준호"),
        },
    ),
    Culture(
        4, "Vietnamese", "Nguyễn Trần Phạm Đặng Bùi Võ", "Lan Hương Thảo Mai Linh", "Minh Tuấn Dũng Quang Hải"
    ),
    Culture(
        5,
        "Polish",
        "Kowalczyk Wiśniewski Zieliński Łukasik Mazur Dąbrowski Sikora Gajewska",
        "Agnieszka Małgorzata Zofia Ewa Halina Jadwiga",
        "Stanisław Łukasz Zbigniew Piotr Kazimierz Marek",
    ),
    Culture(
        4,
        "German",
        "Bauer Krüger Schäfer Hoffmann Weiß Vogt Brandt Lindner",
        "Ingrid Ursula Greta Heike Sabine Annelie",
        "Jürgen Dieter Matthias Uwe Björn Konrad",
    ),
    Culture(
        3,
        "Norwegian",
        "Sørensen Lindqvist Håkansson Ødegård Åkesson Nygård",
        "Solveig Astrid Maja Liv",
        "Lars Torbjørn Nils Åge",
    ),
    Culture(
        4,
        "French",
        "Lefèvre Garnier Bélanger Côté Moreau Chartier O'Rourke-Dubois",
        "Élise Mathilde Aurélie Hélène Noémie",
        "Étienne François Benoît Jérôme Rémy",
    ),
    Culture(
        4,
        "Italian",
        "Rossi Bellini Ferraro D'Angelo Conti Marchetti",
        "Carla Chiara Giulia Paola Rosa",
        "Luca Dario Enzo Carlo Nino",
    ),
    Culture(
        3,
        "Portuguese",
        "Araújo Gonçalves Brandão Seixas Falcão",
        "Joana Conceição Inês Fátima",
        "João Duarte Tomé Nuno",
    ),
    Culture(
        3, "Turkish", "Yıldız Şahin Çelik Doğan Öztürk", "Ayşe Gül Zeynep Elif", "Emre Çağlar İbrahim Barış"
    ),
    Culture(
        3,
        "Ukrainian",
        "Shevchuk Kovalenko Melnyk Bondar Tkach",
        "Oksana Iryna Halyna Olena",
        "Taras Bohdan Oleksandr Mykola",
    ),
    Culture(
        3,
        "English",
        "O'Brien O'Connell Gallagher Byrne Fitzgerald",
        "Siobhan Aoife Maeve Nuala",
        "Declan Eoin Cormac Niall",
    ),
    Culture(2, "Amharic", "Tesfaye Bekele Haile Girma", "Selam Hiwot Almaz", "Dawit Abebe Yonas"),
    Culture(2, "Samoan", "Tuilagi Leota Faleolo Sapolu", "Sina Lagi Mele", "Sione Tavita Malo"),
)

STREETS = (
    "Quay Road",
    "Mill Lane",
    "Cedar Street",
    "Harbour View",
    "Station Road",
    "Elm Avenue",
    "Lighthouse Lane",
    "Dock Street",
    "North Parade",
    "Chapel Hill",
    "Orchard Way",
    "Ropewalk",
    "Ferry Street",
    "Juniper Court",
    "Saltmarsh Road",
)
TOWNS = ("Harbour Town", "Eastquay", "Saltmarsh", "Northpoint", "Millford", "Cedar Falls", "Lowbridge")

ALLERGIES = (
    "Iodine contrast: hives 2019",
    "Iodine contrast: short of breath 2021",
    "Penicillin: rash",
    "Latex",
    "Gadolinium: nausea",
    "Shellfish",
    "Sulfa drugs",
    "Plaster adhesive",
    "Codeine",
    "Iodine contrast: itching; Penicillin",
)
ALERTS = (
    "Pacemaker",
    "Falls risk",
    "Needs interpreter",
    "Hard of hearing",
    "Carries MRSA",
    "Insulin pump",
    "Cochlear implant",
    "Kidney disease, eGFR 28",
    "Claustrophobic",
    "Wheelchair",
)


@dataclass(frozen=True)
class Invented:
    name: PersonName
    sex: str
    birth_date: str
    details: dict[str, str]


def invent_people(rng: Random, count: int, *, on: date) -> list[Invented]:
    """`count` patients as they are on the day `on`, each name and birth date together once."""
    found: dict[tuple[str, str, str], Invented] = {}
    while len(found) < count:
        one = _invent(rng, on)
        found.setdefault((one.name.family, one.name.given, one.birth_date), one)
        if rng.random() < 0.02:  # somebody easily mistaken for them
            twin = _look_alike(rng, one, on)
            found.setdefault((twin.name.family, twin.name.given, twin.birth_date), twin)
    return list(found.values())[:count]


def _invent(rng: Random, on: date) -> Invented:
    culture = rng.choices(CULTURES, [one.weight for one in CULTURES])[0]
    woman = rng.random() < 0.56
    family = rng.choice(culture.families.split())
    given = rng.choice((culture.women if woman else culture.men).split())
    age = _age(rng)
    born = on - timedelta(days=int(age * 365.25) + rng.randrange(360))
    name = PersonName(
        family,
        given,
        middle=rng.choice("ABCDEFGHJKLMNPRSTW")
        if culture.language == "English" and rng.random() < 0.3
        else "",
        prefix=_title(rng, woman, age),
        suffix="Jr" if not woman and culture.language == "English" and rng.random() < 0.02 else "",
        ideographic=_written(culture, family, given, 0),
        phonetic=_written(culture, family, given, 1),
    )
    return Invented(name, _sex(rng, woman), _as_known(rng, born), _details(rng, culture, name))


def _age(rng: Random) -> float:
    """Children, a broad middle, many who are old: as they come to imaging."""
    kind = rng.random()
    if kind < 0.07:
        return rng.uniform(0.1, 15)
    return rng.uniform(16, 45) if kind < 0.35 else min(rng.gauss(63, 13), 101)


def _title(rng: Random, woman: bool, age: float) -> str:
    if age < 18 or rng.random() < 0.35:
        return ""
    if rng.random() < 0.03:
        return "Dr"
    return rng.choice(("Mrs", "Ms", "Miss")) if woman else "Mr"


def _sex(rng: Random, woman: bool) -> str:
    if rng.random() < 0.006:
        return rng.choice("OU")
    return "F" if woman else "M"


def _as_known(rng: Random, born: date) -> str:
    """A few people know the year or the month only."""
    kind = rng.random()
    return born.isoformat()[: 4 if kind < 0.012 else 7 if kind < 0.02 else 10]


def _written(culture: Culture, family: str, given: str, form: int) -> str:
    if family not in culture.script or given not in culture.script:
        return ""
    parts = [culture.script[family][form], culture.script[given][form]]
    return "^".join(parts) if all(parts) else ""


def _details(rng: Random, culture: Culture, name: PersonName) -> dict[str, str]:
    details = {
        "address": f"{rng.randrange(1, 240)} {rng.choice(STREETS)}, {rng.choice(TOWNS)}",
        "language": culture.language if rng.random() < 0.4 else "English",
        "mobile": f"555{rng.randrange(10**7):07d}",
    }
    if rng.random() < 0.5:
        details["phone"] = f"555{rng.randrange(10**7):07d}"
    if rng.random() < 0.4 and name.given.isascii() and name.family.isalpha() and name.family.isascii():
        details["email"] = f"{name.given}.{name.family}@example.org".lower()
    if rng.random() < 0.13:
        details["allergies"] = rng.choice(ALLERGIES)
    if rng.random() < 0.07:
        details["alerts"] = rng.choice(ALERTS)
    return details


def _look_alike(rng: Random, one: Invented, on: date) -> Invented:
    """Same family name, a like given name or birth year: what the lists must keep apart."""
    other = _invent(rng, on)
    given = other.name.given if rng.random() < 0.5 else one.name.given
    year = one.birth_date[:4]
    born = f"{year}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    if date.fromisoformat(born) >= on:
        born = one.birth_date
    return Invented(PersonName(one.name.family, given), one.sex, born, other.details)


#: Staff beside those who can sign in: username, given, family, role, title.
STAFF = (
    ("h.tanaka", "Hiro", "Tanaka", "radiologist", "Dr"),
    ("e.weber", "Elke", "Weber", "radiologist", "Dr"),
    ("s.abara", "Simi", "Abara", "radiologist", "Dr"),
    ("l.novak", "Lena", "Novak", "resident", "Dr"),
    ("t.kidd", "Trevor", "Kidd", "technologist", ""),
    ("m.larsen", "Mette", "Larsen", "technologist", ""),
    ("j.cruz", "Jaime", "Cruz", "technologist", ""),
    ("p.doyle", "Patrick", "Doyle", "technologist", ""),
    ("n.shah", "Nila", "Shah", "frontdesk", ""),
    ("b.hart", "Bridget", "Hart", "frontdesk", ""),
)

#: Who sends patients: given, family, the ward or practice.
REFERRERS = (
    ("Elias", "Brandt", "Emergency"),
    ("Sunniva", "Holt", "Emergency"),
    ("Marcus", "Okoye", "Emergency"),
    ("Petra", "Vance", "Ward 4 East"),
    ("Leon", "Achterberg", "Ward 4 East"),
    ("Grace", "Tembo", "Ward 2 West"),
    ("Ivo", "Castellan", "Oncology"),
    ("Nadia", "Rahimi", "Oncology"),
    ("Colm", "Darragh", "Orthopaedics"),
    ("Freya", "Stensrud", "Orthopaedics"),
    ("Paulo", "Mattos", "Neurology"),
    ("Yuna", "Baek", "Neurology"),
    ("Agnes", "Whitlow", "Quay Family Practice"),
    ("Tobias", "Renner", "Quay Family Practice"),
    ("Shirin", "Vahdat", "Millford Medical"),
    ("Gareth", "Pugh", "Millford Medical"),
    ("Olga", "Fenwick", "Northpoint Clinic"),
    ("Samuel", "Adjei", "Northpoint Clinic"),
    ("Isabel", "Cordoba", "Women's Health"),
    ("Rosalind", "Peake", "Women's Health"),
    ("Dmitri", "Halloran", "Urology"),
    ("Anke", "Visser", "Cardiology"),
    ("Bao", "Trinh", "Gastroenterology"),
    ("Leila", "Marchetti", "Paediatrics"),
)
