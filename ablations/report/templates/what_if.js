"use strict";
(() => {
  const data = JSON.parse(document.getElementById("fits").textContent);
  const field = (name) => document.getElementById(name);
  const names = [...document.querySelectorAll("#sizes input")].map((input) => input.name);

  // Arithmetic: what is multiplied and added comes from the data, as Python has it.

  const value = (polynomial, sizes) => {
    let sum = 0;
    for (const one of polynomial) {
      let product = 1;
      for (const name of one.factors) product *= name in sizes ? sizes[name] : derived(name, sizes);
      sum += one.coefficient * product;
    }
    return sum;
  };

  const derived = (name, sizes) =>
    Math[data.derived[name].of](...data.derived[name].amounts.map((one) => value([one], sizes)));

  const scaled = (fit, number, before) => ({
    value: before + number,
    low: fit.bounds && before + number * fit.bounds.low,
    high: fit.bounds && before + number * fit.bounds.high,
  });

  const seconds = (contender, sizes) => scaled(contender.time, value(contender.time.polynomial, sizes), 0);

  const bytes = (contender, sizes) =>
    scaled(contender.memory, value(contender.memory.polynomial, sizes), value(data.state, sizes));

  const sizesOf = (contender, asked) => ({ ...asked, ...contender.constants });

  const longest = (contender, sizes, budget, end) => {
    const step = 2 * sizes.chunk_len;
    const fits = (count) => bytes(contender, { ...sizes, length: count * step })[end] <= budget;
    let yes = 0;
    let no = Math.floor(data.longest / step) + 1;
    while (no - yes > 1) {
      const middle = Math.floor((yes + no) / 2);
      if (fits(middle)) yes = middle;
      else no = middle;
    }
    return yes * step;
  };

  // The shortest length, a multiple of two chunks, from which on `challenger` stays below; null if it is not at the last.
  const crossover = (curve, challengerEnd, otherEnd) => {
    for (let place = curve.length - 1; place >= 0; place--) {
      if (curve[place].challenger[challengerEnd] >= curve[place].other[otherEnd]) {
        return place === curve.length - 1 ? null : curve[place + 1].length;
      }
    }
    return curve[0].length;
  };

  const curveOf = (quantity, challenger, other, asked) => {
    const [own, others] = [sizesOf(challenger, asked), sizesOf(other, asked)];
    return Array.from({ length: data.limit_steps }, (_, place) => {
      const length = (place + 1) * 2 * asked.chunk_len;
      own.length = others.length = length;
      return { length, challenger: quantity(challenger, own), other: quantity(other, others) };
    });
  };

  // Words.

  const whole = (number) => number.toLocaleString("en-US");

  const threeDigits = (number) => {
    if (Math.abs(number) < 0.0005) return "0";
    if (Math.abs(number) < 1) return String(Number(number.toPrecision(3)));
    const rounded = Number(number.toPrecision(3));
    const decimals = rounded >= 100 ? 0 : rounded >= 10 ? 1 : 2;
    return rounded.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  };

  const unitOf = (scales, number) => scales.find(([size]) => number >= size) || scales[scales.length - 1];

  const written = (scales, found) => {
    const [size, unit] = unitOf(scales, found.value);
    const text = (number) => threeDigits(number / size);
    return {
      value: `${text(found.value)} ${unit}`,
      interval: found.low === null ? null : `${text(found.low)} to ${text(found.high)} ${unit}`,
    };
  };

  const beyond = (fit, sizes) =>
    Object.entries(fit.ranges)
      .filter(([name, [low, high]]) => sizes[name] < low || sizes[name] > high)
      .map(([name, [low, high]]) => {
        const here = `${data.labels[name]} ${whole(sizes[name])}`;
        return low === high ? `${here}, measured at ${whole(low)} only` : `${here} beyond ${whole(low)} to ${whole(high)}`;
      });

  // What both lack is said once, what one lacks with its name.
  const beyondEither = (kind, challenger, other, asked) => {
    const [own, others] = [challenger, other].map((one) => beyond(one[kind], sizesOf(one, asked)));
    const named = (faults, known, label) => faults.filter((fault) => !known.includes(fault)).map((fault) => `${fault} (${label})`);
    const shared = own.filter((fault) => others.includes(fault));
    return [...shared, ...named(own, others, challenger.label), ...named(others, own, other.label)];
  };

  const marked = (faults) => (faults.length ? `extrapolation: ${faults.join("; ")}` : null);

  // Elements. Text only, never markup: names come from records.

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const cell = (of, parts, mark, numbers) => {
    const made = element("td");
    made.dataset.of = of;
    Object.entries(numbers || {}).forEach(([name, number]) => (made.dataset[name] = String(number)));
    const content = element("div", mark ? "beyond" : "");
    parts.filter(Boolean).forEach((part) => content.append(part));
    if (mark) content.append(element("div", "mark", mark));
    made.append(content);
    return made;
  };

  const missing = (of, fit) => cell(of, [element("div", "soft", `no prediction: ${fit.missing}`)]);

  const quantityCell = (of, fit, found, scales, sizes) => {
    const text = written(scales, found);
    const interval = text.interval ? `${text.interval} (${fit.bounds.kind})` : `no interval: ${fit.no_interval}`;
    return cell(of, [element("div", "value", text.value), element("div", "soft", interval)], marked(beyond(fit, sizes)), found);
  };

  const verdictOf = (found, budget) => {
    if (found.low === null) return found.value <= budget ? ["fits", "✓ fits, by the prediction"] : ["over", "✗ does not fit, by the prediction"];
    if (found.high <= budget) return ["fits", "✓ fits"];
    if (found.low > budget) return ["over", "✗ does not fit"];
    return ["close", found.value <= budget ? "≈ fits, but not the whole interval" : "≈ does not fit, but part of the interval does"];
  };

  const lengthText = (length, sizes) => {
    if (length === 0) return "none";
    return length + 2 * sizes.chunk_len > data.longest ? `${whole(length)} or more` : whole(length);
  };

  const longestCell = (contender, sizes, budget) => {
    const of = "longest that fits";
    const fit = contender.memory;
    const found = { value: longest(contender, sizes, budget, "value") };
    if (fit.bounds) {
      found.low = longest(contender, sizes, budget, "high");
      found.high = longest(contender, sizes, budget, "low");
    }
    const interval = fit.bounds ? `${lengthText(found.low, sizes)} to ${lengthText(found.high, sizes)}` : `no interval: ${fit.no_interval}`;
    const mark = found.value ? marked(beyond(fit, { ...sizes, length: found.value })) : null;
    return cell(of, [element("div", "value", lengthText(found.value, sizes)), element("div", "soft", interval)], mark, found);
  };

  const row = (contender, asked, budget) => {
    const sizes = sizesOf(contender, asked);
    const made = element("tr");
    made.dataset.contender = contender.label;
    const head = element("th", "", contender.label);
    head.scope = "row";
    made.append(head);
    if (contender.memory.missing) {
      ["peak", "budget", "longest that fits"].forEach((of) => made.append(missing(of, contender.memory)));
    } else {
      const peak = bytes(contender, sizes);
      const [className, words] = verdictOf(peak, budget);
      made.append(quantityCell("peak", contender.memory, peak, data.units.bytes, sizes));
      made.append(cell("budget", [element("div", className, words)]));
      made.append(longestCell(contender, sizes, budget));
    }
    if (contender.time.missing) made.append(missing("time", contender.time));
    else made.append(quantityCell("time", contender.time, seconds(contender, sizes), data.units.seconds, sizes));
    return made;
  };

  const table = (contenders, asked, budget) => {
    const made = element("table");
    const head = element("tr");
    ["variant", "peak", "budget", "longest that fits", "time of a step"].forEach((title) => {
      const column = element("th", "", title);
      column.scope = "col";
      head.append(column);
    });
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    contenders.forEach((contender) => body.append(row(contender, asked, budget)));
    made.append(top, body);
    return made;
  };

  const crossingText = (length, curve) => (length === null ? `up to ${whole(curve[curve.length - 1].length)}` : whole(length));

  const crossing = (words, quantity, kind, challenger, other, asked) => {
    const made = element("li");
    made.dataset.crossing = kind;
    const lacking = [challenger, other].filter((one) => one[kind].missing);
    if (lacking.length) {
      made.textContent = `${words}: no prediction of ${lacking.map((one) => one.label).join(" and ")}`;
      return made;
    }
    const curve = curveOf(quantity, challenger, other, asked);
    const found = crossover(curve, "value", "value");
    made.dataset.value = String(found);
    const content = element("div");
    const from = found === null ? "from no length" : found === curve[0].length ? "at every length, from" : "from length";
    content.append(element("span", "value", `${words}: ${challenger.label} below ${other.label} ${from} ${crossingText(found, curve)}`));
    content.append(found === null ? ". " : " on. ");
    if (challenger[kind].bounds && other[kind].bounds) {
      const first = crossover(curve, "low", "high");
      const last = crossover(curve, "high", "low");
      made.dataset.low = String(first);
      made.dataset.high = String(last);
      content.append(element("span", "soft", `By the ends of both intervals: ${first === last ? "the same" : `${crossingText(first, curve)} to ${last === null ? "none " : ""}${crossingText(last, curve)}`}.`));
    } else {
      content.append(element("span", "soft", "No interval: one of the two has none."));
    }
    const at = { ...asked, length: found === null ? curve[curve.length - 1].length : found };
    const mark = marked(beyondEither(kind, challenger, other, at));
    if (mark) {
      content.className = "beyond";
      content.append(element("div", "mark", mark));
    }
    made.append(content);
    return made;
  };

  const crossings = (contenders, asked) => {
    const made = element("ul", "crossings");
    const of = (variant) => contenders.filter((one) => one.variant === variant);
    of("reformer").forEach((challenger) =>
      of("dense").forEach((other) => {
        made.append(crossing("Time of a step", seconds, "time", challenger, other, asked));
        made.append(crossing("Peak", bytes, "memory", challenger, other, asked));
      }),
    );
    if (!made.children.length) made.append(element("li", "", "none to compute: reformer and dense are not both fitted on this machine"));
    return made;
  };

  // The form.

  const faultOf = (name, text) => {
    if (text === "") return `${name} is empty`;
    if (name === "budget") {
      if (!/^\d{1,9}(\.\d{1,6})?$/.test(text) || Number(text) === 0) return `budget is ${text}: give GiB above 0, such as 1.5`;
      return "";
    }
    if (!/^\d+$/.test(text)) return `${name} is ${text}: give a whole number, in digits alone`;
    if (Number(text) < 1 || Number(text) > data.longest) return `${name} is ${text}: give 1 to ${data.longest}`;
    return "";
  };

  const read = (machine) => {
    const asked = { updates: Number(field("updates").value) };
    const faults = [];
    names.forEach((name) => {
      const fixed = name === "chunk_len" && machine.chunk_len !== null;
      const text = fixed ? String(machine.chunk_len) : field(name).value.trim();
      const fault = faultOf(name, text);
      field(name).setAttribute("aria-invalid", String(fault !== ""));
      field(`${name}-fault`).textContent = fault;
      if (fault) faults.push(fault);
      asked[name] = Number(text);
    });
    return [asked, faults];
  };

  const showFixed = (machine) => {
    const fixed = machine.chunk_len !== null;
    field("chunk_len").hidden = fixed;
    field("chunk_len-fixed").hidden = !fixed;
    field("chunk_len-fixed").textContent = fixed ? `${machine.chunk_len}, measured at no other` : "";
  };

  const compute = () => {
    const machine = data.machines[field("machine") ? Number(field("machine").value) : 0];
    showFixed(machine);
    const [{ budget, ...asked }, faults] = read(machine);
    const results = field("results");
    if (faults.length) {
      results.replaceChildren(element("p", "fault", `Nothing is computed: ${faults.join("; ")}.`));
      return;
    }
    const scroll = element("div", "scroll");
    scroll.append(table(machine.contenders, asked, budget * 2 ** 30));
    results.replaceChildren(element("h2", "", "Each variant"), scroll, element("h2", "", "From which length on"), crossings(machine.contenders, asked));
  };

  field("sizes").addEventListener("input", compute);
  field("sizes").addEventListener("submit", (event) => event.preventDefault());
  compute();
})();
