"""Why an exam is stopped: the words for the codes a modality sends."""

#: CID 9301, Modality PPS Discontinuation Reasons.
DISCONTINUATION_REASONS = {
    "110500": "Doctor cancelled procedure",
    "110501": "Equipment failure",
    "110502": "Incorrect procedure ordered",
    "110503": "Patient allergic to media or contrast",
    "110504": "Patient died",
    "110505": "Patient refused to continue",
    "110506": "Patient taken for treatment or surgery",
    "110507": "Patient did not arrive",
    "110508": "Patient pregnant",
    "110509": "Change of procedure for correct charging",
    "110510": "Duplicate order",
    "110511": "Nursing unit cancel",
    "110512": "Incorrect side ordered",
    "110513": "Unspecified reason",
    "110514": "Incorrect worklist entry selected",
    "110515": "Patient condition prevented continuing",
    "110516": "Equipment change",
    "95384003": "Injection site extravasation",
    "292094009": "Radiopharmaceutical adverse reaction",
}
WRONG_ENTRY = "110514"

#: After these the patient comes back another time, unless a site says otherwise: the machine or the time was wrong.
COMES_BACK = ["110501", "110506", "110507", "110516"]
