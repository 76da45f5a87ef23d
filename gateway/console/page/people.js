/** Ids of WhatsApp as people know them. */

/** A phone number with its plus; of a group or a LID, what stands before the @. */
export function number(id) {
  const digits = id.split("@")[0];
  return id.endsWith("@c.us") ? `+${digits}` : digits;
}
