"""Why people are sent, and what is then read: our own wording, no report of any patient.

{side} is left or right as ordered, {other} the opposite, {mm} and {mm2} a small size, {cm} a larger one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    findings: str
    impression: str


@dataclass(frozen=True)
class Subject:
    """What a group of exams is asked for and what it shows; the first reading is the unremarkable one."""

    codes: str
    reasons: tuple[str, ...]
    technique: str
    readings: tuple[Reading, ...]


_HEAD = Subject(
    "CT-HEAD CT-HEADC CT-TEMP",
    (
        "Headache, sudden onset",
        "Fall, on blood thinners",
        "Confusion since this morning",
        "Head injury, brief loss of consciousness",
        "New weakness of one arm",
        "Dizziness and vomiting",
    ),
    "Helical acquisition from skull base to vertex, brain and bone windows, multiplanar reformats.",
    (
        Reading(
            "No intracranial haemorrhage. No mass effect or midline shift. Grey-white differentiation "
            "is preserved. Ventricles and "
            "sulci are of normal width for age. Basal cisterns are open. Skull base and calvarium are "
            "intact. Paranasal sinuses and "
            "mastoid cells are aerated.",
            "No acute intracranial abnormality.",
        ),
        Reading(
            "Crescent-shaped hyperdense collection over the right convexity, up to {mm} mm thick. "
            "Midline shift {mm2} mm to the left. "
            "The right lateral ventricle is mildly effaced. No skull fracture.",
            "1. Acute subdural haematoma on the right, {mm} mm.\n2. Midline shift of {mm2} mm. The "
            "referring team was called.",
        ),
        Reading(
            "Confluent low density in the periventricular white matter. Old lacunar defect in the "
            "left putamen, {mm} mm. Ventricles and "
            "sulci are widened in keeping with volume loss. No haemorrhage. No territorial infarct.",
            "1. No acute change.\n2. Chronic small vessel disease, old lacune in the left putamen.",
        ),
    ),
)

_NECK_CT = Subject(
    "CT-ANGHN CT-NECKC CT-SINUS",
    (
        "Neck mass for 3 weeks",
        "TIA, carotid disease?",
        "Chronic sinusitis before surgery",
        "Hoarseness and weight loss",
        "Visual loss for ten minutes",
    ),
    "Helical acquisition from aortic arch to skull base with 1 mm reconstruction and reformats.",
    (
        Reading(
            "Pharynx, larynx and salivary glands are symmetrical. No mass. No enlarged lymph nodes. "
            "Large vessels are open and of "
            "normal calibre. Thyroid is homogeneous. Lung apices are clear. Paranasal sinuses show "
            "minimal mucosal thickening only.",
            "No mass, no enlarged nodes, no relevant stenosis.",
        ),
        Reading(
            "Mixed plaque at the right carotid bifurcation with narrowing of the internal carotid "
            "artery of about 60 %. On the left "
            "calcified plaque without relevant narrowing. Vertebral arteries are open, the left one "
            "is dominant. No dissection.",
            "Stenosis of the right internal carotid artery of about 60 %.",
        ),
        Reading(
            "Complete opacification of the left maxillary sinus with obstruction of the ostium. "
            "Mucosal thickening of the ethmoid cells "
            "on both sides. Septal deviation to the left. No bone erosion. Orbits are normal.",
            "Chronic sinusitis with obstructed left maxillary ostium. No bone erosion.",
        ),
    ),
)

_CHEST_CT = Subject(
    "CT-CHEST CT-CHESTC CT-LUNGSC CT-CORO",
    (
        "Nodule on chest film, please characterise",
        "Cough for 8 weeks, smoker",
        "Follow-up of lung nodule",
        "Weight loss",
        "Interstitial lung disease?",
        "Screening, 32 pack-years",
    ),
    "Helical acquisition of the chest in inspiration, 1 mm reconstruction, lung and mediastinal windows.",
    (
        Reading(
            "Lungs are clear, no nodule and no consolidation. No pleural effusion. Heart is not "
            "enlarged. No enlarged mediastinal or "
            "hilar lymph nodes. Visible upper abdomen is unremarkable. No suspicious bone lesion.",
            "Normal CT of the chest.",
        ),
        Reading(
            "Solid nodule in the right upper lobe, {mm} mm, smooth margin (series 3). Second nodule "
            "in the left lower lobe, {mm2} mm. "
            "Centrilobular emphysema, upper lobe predominant. No enlarged lymph nodes. Coronary "
            "calcification.",
            "1. Solid nodule in the right upper lobe, {mm} mm; control in 6 to 12 months.\n2. "
            "Emphysema. Coronary calcification.",
        ),
        Reading(
            "Spiculated mass in the left upper lobe, {cm} cm, with contact to the pleura. Enlarged "
            "left hilar lymph node, 14 mm short axis. "
            "No pleural effusion. Adrenal glands are slender.",
            "Mass in the left upper lobe, {cm} cm, suspicious of a primary tumour, with an enlarged "
            "left hilar node. Tissue diagnosis "
            "and presentation at the chest board advised.",
        ),
        Reading(
            "Subpleural reticulation and traction bronchiectasis with a basal gradient. Early "
            "honeycombing in both lower lobes. Mild "
            "enlargement of mediastinal lymph nodes. Main pulmonary artery 31 mm.",
            "Fibrosing lung disease with a usual interstitial pneumonia pattern. Main pulmonary "
            "artery slightly wide.",
        ),
    ),
)

_PE = Subject(
    "CT-PE CT-AORTA",
    (
        "Shortness of breath, D-dimer raised",
        "Chest pain, pulse 118",
        "Oxygen saturation 88 %, after hip surgery",
        "Tearing back pain",
        "Known aneurysm, yearly control",
    ),
    "Helical acquisition with bolus tracking, 1 mm reconstruction, reformats in three planes.",
    (
        Reading(
            "Good opacification down to subsegmental arteries. No filling defect. Right ventricle is "
            "not dilated. Thoracic aorta is of "
            "normal calibre without dissection. Bibasal atelectasis. No pleural effusion.",
            "No pulmonary embolism. No other cause of acute chest pain seen.",
        ),
        Reading(
            "Filling defects in the right main pulmonary artery extending into the lobar arteries, "
            "further segmental defects in the left "
            "lower lobe. Ratio of right to left ventricle 1.2. Wedge-shaped consolidation in the "
            "right lower lobe. No effusion.",
            "1. Acute pulmonary embolism on both sides, central on the right.\n2. Signs of right "
            "heart strain.\n"
            "3. Small infarct in the right lower lobe. Result was phoned at once.",
        ),
        Reading(
            "Segmental filling defect in the posterior basal artery of the right lower lobe. Right "
            "ventricle is not dilated. Small pleural "
            "effusion on the right.",
            "Segmental pulmonary embolism in the right lower lobe without signs of heart strain.",
        ),
        Reading(
            "Infrarenal aortic aneurysm, {cm} cm, with wall thrombus. No sign of rupture. Iliac "
            "arteries are elongated, of normal width.",
            "Infrarenal aortic aneurysm of {cm} cm without sign of rupture.",
        ),
    ),
)

_ABDOMEN_CT = Subject(
    "CT-ABPELC CT-ABPEL CT-CAPC",
    (
        "Right lower quadrant pain, fever",
        "Right upper quadrant pain",
        "Staging, colon carcinoma",
        "Restaging after 3 cycles",
        "Bowel obstruction?",
        "Unclear weight loss",
        "Diverticulitis?",
    ),
    "Helical acquisition from dome of the diaphragm to symphysis in the portal venous phase, 3 mm reformats.",
    (
        Reading(
            "Liver, spleen, pancreas and adrenal glands are normal. Gallbladder without stones. "
            "Kidneys enhance symmetrically, no "
            "hydronephrosis. Bowel is of normal calibre, the appendix is slender. No free fluid or "
            "air. No enlarged lymph nodes. "
            "Bones without suspicious lesion.",
            "No acute abnormality of abdomen and pelvis.",
        ),
        Reading(
            "Appendix is 11 mm wide with an enhancing wall and stranding of the surrounding fat. "
            "Appendicolith at the base, {mm} mm. No "
            "abscess, no free air. Other organs are unremarkable.",
            "Acute appendicitis without perforation.",
        ),
        Reading(
            "Wall thickening of the sigmoid over {cm} cm with inflamed diverticula and fat stranding. "
            "No abscess, no free air. Liver cyst in "
            "segment VII, {mm} mm. Simple cyst of the left kidney.",
            "Uncomplicated sigmoid diverticulitis.",
        ),
        Reading(
            "Two hypodense liver lesions, segment IVa {mm} mm and segment VI {mm2} mm, both smaller "
            "than before. Wall thickening of the "
            "ascending colon unchanged. No ascites. No new lesion.",
            "Partial response: both liver metastases are smaller. No new lesion.",
        ),
        Reading(
            "Small bowel loops dilated to 38 mm with fluid levels, change of calibre in the right "
            "lower abdomen next to the old scar. Wall "
            "enhancement is preserved. Little free fluid. No free air.",
            "Mechanical small bowel obstruction with transition in the right lower abdomen, most "
            "likely an adhesion. No sign of "
            "ischaemia.",
        ),
    ),
)

_STONE = Subject(
    "CT-KUB",
    ("Colic on the left, blood in the urine", "Flank pain on the right", "Known stones, pain again"),
    "Low dose helical acquisition without contrast from kidneys to bladder.",
    (
        Reading(
            "Kidneys of normal size. No stone, no hydronephrosis. Ureters are slender. Bladder is "
            "normal. Appendix is normal.",
            "No urinary stone. No other cause of the pain seen.",
        ),
        Reading(
            "Stone in the distal left ureter, {mm} mm, 2 cm above the ostium. Hydronephrosis grade II "
            "and perirenal stranding. "
            "Two calyceal stones on the right, up to {mm2} mm.",
            "Obstructing stone of {mm} mm in the distal left ureter. Further stones in the right kidney.",
        ),
    ),
)

_SPINE_CT = Subject(
    "CT-CSPINE CT-LSPINE CT-EXTR",
    (
        "Fall down the stairs",
        "Fracture before surgery",
        "Neck pain after a collision",
        "Pain in spite of normal film",
    ),
    "Helical acquisition, 1 mm bone reconstruction, reformats in three planes.",
    (
        Reading(
            "Alignment is normal. No fracture. Joint spaces are preserved. Soft tissues are unremarkable.",
            "No fracture.",
        ),
        Reading(
            "Undisplaced fracture line with slight step of {mm} mm at the joint surface. Moderate "
            "effusion. No further fracture.",
            "Undisplaced fracture reaching the joint surface, step {mm} mm.",
        ),
        Reading(
            "Wedge-shaped loss of height of one vertebral body by a third, posterior wall intact. No "
            "retropulsion. Degenerative change "
            "of the small joints.",
            "Compression fracture with intact posterior wall, likely osteoporotic.",
        ),
    ),
)

_HEAD_MR = Subject(
    "MR-HEAD MR-HEADC MR-ANGHD MR-PITC MR-IACC",
    (
        "Multiple sclerosis, yearly control",
        "First seizure",
        "Hearing loss on one side",
        "Headaches, changed pattern",
        "Memory loss",
        "Follow-up of meningioma",
    ),
    "T1, T2, FLAIR, diffusion and susceptibility sequences of the head.",
    (
        Reading(
            "No diffusion restriction. No mass, no haemorrhage. White matter signal is normal for "
            "age. Ventricles are of normal width. "
            "Pituitary and posterior fossa are unremarkable. Flow voids of the large vessels are "
            "present.",
            "Normal MR of the head.",
        ),
        Reading(
            "Multiple T2 hyperintense lesions, periventricular, juxtacortical and one infratentorial. "
            "Two are new since the last exam, up "
            "to {mm} mm. None takes up contrast.",
            "Multiple sclerosis: two new lesions, none active.",
        ),
        Reading(
            "Diffusion restriction in the left corona radiata, {mm} mm, with low ADC. No haemorrhage. "
            "Few unspecific white matter lesions. "
            "Large vessels are open.",
            "Acute lacunar infarct in the left corona radiata. The ward was called.",
        ),
        Reading(
            "Extra-axial mass at the right frontal convexity, {mm} mm, homogeneous enhancement, dural "
            "tail. No oedema. Unchanged in size.",
            "Meningioma of the right convexity, {mm} mm, unchanged.",
        ),
    ),
)

_SPINE_MR = Subject(
    "MR-LSPINE MR-CSPINE MR-TSPINE",
    (
        "Low back pain into the leg for 6 weeks",
        "Weakness of foot lifting",
        "Arm pain and numb thumb",
        "Spinal stenosis?",
        "Back pain, history of breast cancer",
    ),
    "Sagittal T1, T2 and STIR, axial T2 at the disc levels.",
    (
        Reading(
            "Normal alignment and height of the vertebral bodies. Discs without relevant herniation. "
            "Spinal canal and foramina are wide. "
            "Conus ends at L1. Marrow signal is normal.",
            "No nerve root compression.",
        ),
        Reading(
            "L4/5: broad disc bulge with a right paramedian extrusion, {mm} mm, displacing the right "
            "L5 root. L5/S1: loss of height, "
            "annular fissure. Facet joints with mild arthrosis. No instability.",
            "Disc extrusion L4/5 on the right with compression of the L5 root.",
        ),
        Reading(
            "L3/4 and L4/5: marked narrowing of the spinal canal by disc bulge, ligament thickening "
            "and facet arthrosis; the "
            "cerebrospinal fluid around the roots is used up at L4/5. Grade I slip of L4.",
            "High-grade spinal stenosis L4/5, moderate L3/4.",
        ),
    ),
)

_KNEE = Subject(
    "MR-KNEE MR-ANKLE MR-HIP MR-WRIST",
    (
        "Twisted while skiing",
        "Pain and locking",
        "Swelling for 4 weeks",
        "Groin pain in a runner",
        "Still painful 3 months after injury",
    ),
    "Proton density with fat saturation in three planes, sagittal T1.",
    (
        Reading(
            "Ligaments are continuous. Cartilage is preserved. No effusion of note. No bone marrow "
            "oedema. Tendons are intact.",
            "Normal MR of the {side} joint.",
        ),
        Reading(
            "Oblique tear of the posterior horn of the medial meniscus reaching the lower surface. "
            "Cartilage defect of the medial condyle, "
            "{mm} mm. Moderate effusion. Cruciate and collateral ligaments are intact.",
            "Tear of the medial meniscus, {side}. Cartilage defect of the medial condyle.",
        ),
        Reading(
            "Fibres of the ligament are interrupted with surrounding oedema. Bone bruise on both "
            "sides of the joint. Large effusion. No "
            "fracture line.",
            "Complete ligament tear, {side}, with bone bruise.",
        ),
    ),
)

_SHOULDER_MR = Subject(
    "MR-SHLDR",
    ("Cannot lift the arm", "Night pain of the shoulder", "After dislocation"),
    "Proton density with fat saturation in three planes, oblique coronal T1.",
    (
        Reading(
            "Rotator cuff is intact. Long biceps tendon is in its groove. Labrum is intact. No effusion.",
            "Normal MR of the {side} shoulder.",
        ),
        Reading(
            "Full-thickness tear of the supraspinatus tendon near its insertion, {mm} mm, retraction "
            "to the top of the humeral head. Muscle "
            "volume is preserved. Fluid in the bursa.",
            "Full-thickness tear of the supraspinatus, {side}, {mm} mm, without atrophy.",
        ),
    ),
)

_BELLY_MR = Subject(
    "MR-ABDC MR-MRCP MR-PROSTC MR-BRSTC",
    (
        "Liver lesion seen by ultrasound",
        "Jaundice",
        "PSA 7.4",
        "High risk screening",
        "Pancreatic cyst, control",
    ),
    "T2, diffusion and dynamic T1 with contrast by the department's protocol.",
    (
        Reading(
            "No focal lesion. Bile ducts are slender. No restricted diffusion. No enlarged lymph "
            "nodes. No free fluid.",
            "No suspicious finding.",
        ),
        Reading(
            "Lesion of {mm} mm, bright on T2, with nodular enhancement from the rim that fills in "
            "late. Two smaller ones of the same kind.",
            "Haemangiomas, the largest {mm} mm. No control needed.",
        ),
        Reading(
            "Focus of {mm} mm with low T2 signal and marked diffusion restriction, early enhancement. "
            "Capsule is respected. No enlarged nodes.",
            "Suspicious focus of {mm} mm; biopsy advised.",
        ),
    ),
)

_ABDOMEN_US = Subject(
    "US-ABD US-RUQ",
    (
        "Right upper quadrant pain",
        "Raised liver enzymes",
        "Gallstones?",
        "Follow-up of cirrhosis",
        "Upper abdominal pain after meals",
    ),
    "Real-time examination with a curved probe, colour Doppler.",
    (
        Reading(
            "Liver of normal size and texture. Gallbladder with a thin wall, no stones. Common bile "
            "duct 4 mm. Pancreas as far as seen normal. "
            "Both kidneys without hydronephrosis. Spleen 10 cm. No free fluid.",
            "Normal ultrasound of the abdomen.",
        ),
        Reading(
            "Several stones in the gallbladder up to {mm} mm, wall 5 mm with layered oedema, "
            "tenderness under the probe. Common bile duct 5 mm. "
            "Liver is unremarkable.",
            "Acute cholecystitis with stones.",
        ),
        Reading(
            "Liver is bright, vessels are seen poorly. No focal lesion. Gallbladder without stones. "
            "Spleen 11 cm.",
            "Fatty liver, moderate.",
        ),
    ),
)

_SMALL_US = Subject(
    "US-THYR US-SCROT US-SOFT US-KIDNEY US-CAROT",
    (
        "Lump, growing",
        "Nodule felt by the doctor",
        "Recurrent infections",
        "Before surgery",
        "Control after one year",
    ),
    "Real-time examination with a linear probe, colour Doppler.",
    (
        Reading(
            "Normal size and texture. No focal lesion. Normal flow. No enlarged lymph nodes.",
            "Unremarkable ultrasound.",
        ),
        Reading(
            "Well-defined nodule of {mm} x {mm2} mm, mostly solid, no calcification, wider than tall. "
            "Normal lymph nodes.",
            "Nodule of {mm} mm without suspicious features; control in 12 months.",
        ),
    ),
)

_WOMEN_US = Subject(
    "US-PELVIS US-OBFIRST US-OB20",
    ("Irregular bleeding", "Dating", "Anatomy scan, 20 weeks", "Pelvic pain", "Fibroids, control"),
    "Examination through the abdominal wall.",
    (
        Reading(
            "Findings are in keeping with the stated dates. Normal amount of fluid. Cervix is long "
            "and closed. No free fluid.",
            "Normal findings.",
        ),
        Reading(
            "Fibroid of the anterior wall, {mm} mm, intramural. Endometrium 6 mm. Both ovaries are "
            "normal. No free fluid.",
            "Intramural fibroid of {mm} mm.",
        ),
    ),
)

_VEINS = Subject(
    "US-DVTLEG",
    ("Swollen calf since yesterday", "Leg pain after a long flight", "DVT? Recent surgery"),
    "Compression ultrasound and colour Doppler from groin to calf.",
    (
        Reading(
            "Femoral, popliteal and calf veins are fully compressible with normal flow.",
            "No deep vein thrombosis, {side} leg.",
        ),
        Reading(
            "Popliteal vein is wide, filled with echoes and not compressible; clot extends {cm} cm "
            "upwards. Calf veins are also filled.",
            "Deep vein thrombosis of the {side} popliteal and calf veins. The referrer was called.",
        ),
    ),
)

_BREAST = Subject(
    "MG-SCREEN MG-DIAGB MG-DIAG1 US-BREAST",
    (
        "Screening",
        "Screening, sister with breast cancer",
        "Lump felt in the upper outer quadrant",
        "Control after 6 months",
        "Nipple discharge",
    ),
    "Two views of each breast examined, read with earlier exams where present.",
    (
        Reading(
            "Scattered fibroglandular tissue (density b). No mass, no suspicious calcification, no "
            "distortion. Skin and axillae are normal.",
            "Negative. Category 1. Routine screening in 2 years.",
        ),
        Reading(
            "Heterogeneously dense tissue (density c). Round, smooth mass in the upper outer "
            "quadrant, {mm} mm, unchanged for three years.",
            "Benign finding. Category 2.",
        ),
        Reading(
            "Group of fine pleomorphic calcifications over {mm} mm in the upper outer quadrant, new "
            "since the last exam. No mass.",
            "New suspicious calcifications. Category 4. Biopsy advised.",
        ),
    ),
)

_CHEST_XR = Subject(
    "XR-CHEST2 XR-CHEST1 XR-RIBS",
    (
        "Cough and fever",
        "Shortness of breath",
        "Before surgery",
        "Tube position",
        "Chest pain",
        "Fall on the side",
        "Pneumonia, control",
    ),
    "Digital radiography.",
    (
        Reading(
            "Heart is not enlarged. Lungs are clear. No effusion, no pneumothorax. Bones are unremarkable.",
            "Normal chest.",
        ),
        Reading(
            "Consolidation in the right lower zone with air bronchogram. Small effusion on the right. "
            "Heart is not enlarged.",
            "Pneumonia of the right lower lobe. Control in 6 weeks.",
        ),
        Reading(
            "Heart is enlarged. Upper zone vessels are prominent, interstitial lines at the bases, "
            "effusions on both sides.",
            "Heart failure with effusions on both sides.",
        ),
        Reading(
            "Tip of the tube {cm} cm above the carina. No pneumothorax. Atelectasis at the left base.",
            "Tube in place. No pneumothorax.",
        ),
    ),
)

_LIMB_XR = Subject(
    "XR-SHLDR XR-ELBOW XR-WRIST XR-HAND XR-HIP XR-KNEE XR-ANKLE XR-FOOT XR-PELVIS",
    (
        "Fall on the outstretched hand",
        "Twisted, cannot put weight on it",
        "Pain for weeks",
        "Control after fracture",
        "Arthrosis?",
        "Sports injury",
        "After joint replacement",
    ),
    "Digital radiography in two planes.",
    (
        Reading(
            "No fracture. Joint is congruent. Soft tissues are unremarkable.", "No fracture, {side} side."
        ),
        Reading(
            "Transverse fracture near the joint with dorsal tilt of about 15 degrees, {mm2} mm "
            "shortening. Joint surface is not involved.",
            "Fracture with dorsal tilt, {side} side.",
        ),
        Reading(
            "Joint space is narrowed, subchondral sclerosis and osteophytes. No fracture. Small effusion.",
            "Moderate arthrosis, {side} side.",
        ),
        Reading(
            "Known fracture, position unchanged, callus is forming.",
            "Healing fracture in unchanged position, {side} side.",
        ),
    ),
)

_SPINE_XR = Subject(
    "XR-LSPINE XR-CSPINE XR-SCOLI XR-ABD XR-BONEAG",
    ("Back pain", "Pain after lifting", "Growth control", "Constipation", "Neck pain, no injury"),
    "Digital radiography.",
    (
        Reading(
            "Alignment and heights are preserved. No fracture. Soft tissues are unremarkable.",
            "No acute finding.",
        ),
        Reading(
            "Narrowed disc spaces with osteophytes. No slip, no fracture. Calcified aorta.",
            "Degenerative change, no fracture.",
        ),
    ),
)

SUBJECTS = (
    _HEAD,
    _NECK_CT,
    _CHEST_CT,
    _PE,
    _ABDOMEN_CT,
    _STONE,
    _SPINE_CT,
    _HEAD_MR,
    _SPINE_MR,
    _KNEE,
    _SHOULDER_MR,
    _BELLY_MR,
    _ABDOMEN_US,
    _SMALL_US,
    _WOMEN_US,
    _VEINS,
    _BREAST,
    _CHEST_XR,
    _LIMB_XR,
    _SPINE_XR,
)
BY_CODE = {code: subject for subject in SUBJECTS for code in subject.codes.split()}

CLINICAL_INFO = (
    "",
    "",
    "",
    "Creatinine 0.9 mg/dL.",
    "On apixaban.",
    "Known hypertension and diabetes.",
    "Pain 7 of 10, worse since yesterday.",
    "Earlier films are in the archive.",
    "Please call the ward with the result.",
    "Previous operation 2018.",
    "eGFR 64 on the day before.",
)
ADDENDA = (
    "The earlier exam from another hospital is now available. Compared with it the finding is unchanged.",
    "Discussed with the referrer by phone; no change to the impression.",
    "At the request of surgery the coronal reformats were added. They confirm the description above.",
    "Incidental: small hiatal hernia, not mentioned in the first text.",
)
HOLD_REASONS = (
    "No kidney blood test; referrer asked",
    "Pacemaker: model to be confirmed",
    "Authorization asked, no answer yet",
    "Patient wants to call back",
    "Sedation to be arranged",
    "Pregnancy test awaited",
)
CANCEL_REASONS = (
    "Patient recovered",
    "Duplicate order",
    "Patient prefers another site",
    "Referrer withdrew it",
    "Patient is ill",
)
COMMENTS = (
    "",
    "",
    "",
    "",
    "Patient moved, one series repeated.",
    "Cannula left arm, 20 G.",
    "Arms could not be raised.",
    "Oral water only.",
)
#: Codes of other houses that nobody has matched yet: our exam -> their code, text, scheme.
UNKNOWN_CODES = {
    "XR-CHEST2": ("71020", "CHEST PA AND LAT", "L"),
    "CT-CHESTC": ("RADCT114", "CT THORAX W CONTR", "99EMR"),
    "MR-KNEE": ("MRKNEL", "MRI KNEE LT", "99EMR"),
    "CT-HEAD": ("24725-4", "CT Head", "LN"),
    "US-RUQ": ("USGB", "US GALLBLADDER ONLY", "99EMR"),
    "XR-HAND": ("XRHANDR", "HAND RT 3V", "99EMR"),
}
