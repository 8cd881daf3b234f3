// What people read for each outcome and for each kind of posting.

export const OUTCOMES = {
  ok: "Done.",
  exists: "An account of that name exists already.",
  no_such_account: "The bank has no account of that name.",
  insufficient_funds: "Insufficient account balance.",
  limit_exceeded: "That is more than the account's limit for a day allows.",
  id_reused: "This reference was used for another request.",
  account_closed: "The account is closed.",
  account_frozen: "The account is frozen: ask an operator.",
  not_empty: "The account is not empty.",
  wrong_pin: "Wrong PIN.",
  locked: "The PIN is locked after too many wrong ones.",
  hold_not_found: "There is no such hold.",
  hold_already_posted: "The hold was paid out already.",
  hold_already_voided: "The hold was released already.",
  hold_expired: "The hold has expired: its amount is available again.",
  exceeds_hold: "That is more than is held.",
  already_reversed: "That was taken back already.",
  exceeds_original: "That is more than was moved.",
  original_not_found: "The bank knows no request under this reference.",
  not_allowed: "Not allowed: the role of this web server does not permit it.",
  needs_approval: "A second person must approve it first.",
  already_approved: "That was approved already.",
  approval_expired: "The time for its approval is over.",
  currency_mismatch: "The two accounts are in different currencies, and nothing moves between them.",
  ceiling_exceeded: "The balance would rise above what the account may hold.",
};

export const OPS = {
  credit: "Paid in",
  debit: "Paid out",
  transfer: "Transfer",
  batch: "Transfer",
  post: "Hold paid out",
  reverse: "Taken back",
  write_off: "Write-off",
  hold: "Hold",
  void: "Release of a hold",
  raise_hold: "More held",
  set_pin: "PIN",
  open: "Opening of an account",
};

export function sentence(outcome) {
  return OUTCOMES[outcome] ?? `Refused: ${outcome}.`;
}
