"""HOW: which protocol an exam is made by, who said so, and when nobody has to be asked.

A procedure has at most one `ProtocolRequest`. It holds a protocol for good in the statuses "approved" and "bypassed";
what was decided is copied into it, so that a later change of the catalogue changes no decision. A modality worklist
takes (`protocolling_protocolrequest` r, `protocolling_protocol` p, r.procedure_id = requested procedure,
p.id = r.protocol_id, r.status IN ('approved', 'bypassed'), p.id may be absent):

| Attribute | Column |
|---|---|
| Scheduled Protocol Code Sequence (0040,0008): value, scheme, meaning | p.code, p.scheme, p.name |
| Scheduled Procedure Step Description (0040,0007) | p.name |
| Pre-Medication (0040,0012) | r.premedication |
| Requested Contrast Agent (0032,1070) | r.contrast_agent |

All are within their value representations (SH 16, LO 64). `protocolling.worklists.protocols_for(orders)` reads the same
for pages.
"""
