// Amounts as people write them, to and from whole minor units; the rules are those of atm/money.py.

const DIGITS_MAX = 14; // with the decimals

export class AmountError extends Error {}

/** Knows into how many decimals each currency is divided. `currency` is undefined for the bank's first one. */
export class Money {
  constructor({ first, decimals }) {
    this.first = first;
    this.decimals = decimals;
  }

  #decimalsOf(currency) {
    const decimals = currency === undefined ? this.first : this.decimals[currency];
    if (decimals === undefined) throw new AmountError(`Amounts in ${currency} are not known here`);
    return decimals;
  }

  /** Return the minor units of a text such as 12.5, 12.50 or 1,234.50; throw AmountError. */
  parse(text, currency) {
    const decimals = this.#decimalsOf(currency);
    const tail = decimals ? `(?:\\.([0-9]{1,${decimals}}))?` : "()";
    const match = new RegExp(`^([0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)${tail}$`).exec(text);
    if (!match) {
      if (/^[0-9.]*,[0-9.,]*$/.test(text)) {
        throw new AmountError("Write a point before the decimals, and commas only between thousands: 1,234.50");
      }
      const example = decimals ? `12.${"50".padEnd(decimals, "0").slice(0, decimals)}` : "12";
      const rule = decimals ? `with at most ${decimals} decimals` : "without decimals";
      throw new AmountError(`Write a positive number ${rule}, such as ${example}`);
    }
    const whole = match[1].replaceAll(",", "");
    if (whole.length > DIGITS_MAX - decimals) {
      throw new AmountError(`An amount has at most ${DIGITS_MAX - decimals} digits before the point`);
    }
    const minor = Number(whole + (match[2] ?? "").padEnd(decimals, "0"));
    if (minor === 0) throw new AmountError("An amount must be more than zero");
    return minor;
  }

  /** Return an amount with all its decimals, commas between thousands, and its currency. */
  format(minor, currency) {
    let decimals;
    try {
      decimals = this.#decimalsOf(currency);
    } catch {
      return `${minor} minor units of ${currency}`;
    }
    const digits = String(Math.abs(minor)).padStart(decimals + 1, "0");
    const whole = digits.slice(0, digits.length - decimals).replace(/\B(?=([0-9]{3})+$)/g, ",");
    const tail = decimals ? `.${digits.slice(-decimals)}` : "";
    return `${minor < 0 ? "−" : ""}${whole}${tail}${currency === undefined ? "" : ` ${currency}`}`;
  }
}
