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

  const seconds = (fitted, sizes) => scaled(fitted.time, value(fitted.time.polynomial, sizes), 0);

  const bytes = (fitted, sizes) =>
    scaled(fitted.memory, value(fitted.memory.polynomial, sizes), value(data.state, sizes));

  const sizesOf = (fitted, asked) => ({ ...asked, ...fitted.constants });

  const longest = (fitted, sizes, budget, end) => {
    const step = 2 * sizes.chunk_len;
    const fits = (count) => bytes(fitted, { ...sizes, length: count * step })[end] <= budget;
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
    if (Math.abs(number) < 1) return number.toPrecision(3);
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

  // Faults of a length; if it has none those of the ends of its interval.
  const ofFirstOrOfRest = ([first, ...rest]) => (first.length ? first : [...new Set(rest.flat())]);

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

  const longestCell = (fitted, sizes, budget) => {
    const of = "longest that fits";
    const fit = fitted.memory;
    const found = { value: longest(fitted, sizes, budget, "value") };
    if (fit.bounds) {
      found.low = longest(fitted, sizes, budget, "high");
      found.high = longest(fitted, sizes, budget, "low");
    }
    const interval = fit.bounds ? `${lengthText(found.low, sizes)} to ${lengthText(found.high, sizes)}` : `no interval: ${fit.no_interval}`;
    // Of none it is the shortest that was looked at and did not fit.
    const lengths = Object.values(found).map((length) => Math.max(length, 2 * sizes.chunk_len));
    const mark = marked(ofFirstOrOfRest(lengths.map((length) => beyond(fit, { ...sizes, length }))));
    return cell(of, [element("div", "value", lengthText(found.value, sizes)), element("div", "soft", interval)], mark, found);
  };

  const row = (fitted, asked, budget) => {
    const sizes = sizesOf(fitted, asked);
    const made = element("tr");
    made.dataset.variant = fitted.label;
    const head = element("th", "", fitted.label);
    head.scope = "row";
    made.append(head);
    if (fitted.memory.missing) {
      ["peak", "budget", "longest that fits"].forEach((of) => made.append(missing(of, fitted.memory)));
    } else {
      const peak = bytes(fitted, sizes);
      const [className, words] = verdictOf(peak, budget);
      made.append(quantityCell("peak", fitted.memory, peak, data.units.bytes, sizes));
      made.append(cell("budget", [element("div", className, words)], marked(beyond(fitted.memory, sizes))));
      made.append(longestCell(fitted, sizes, budget));
    }
    if (fitted.time.missing) made.append(missing("time", fitted.time));
    else made.append(quantityCell("time", fitted.time, seconds(fitted, sizes), data.units.seconds, sizes));
    return made;
  };

  const table = (variants, asked, budget) => {
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
    variants.forEach((fitted) => body.append(row(fitted, asked, budget)));
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
    const lengths = [found];
    if (challenger[kind].bounds && other[kind].bounds) {
      const first = crossover(curve, "low", "high");
      const last = crossover(curve, "high", "low");
      lengths.push(first, last);
      made.dataset.low = String(first);
      made.dataset.high = String(last);
      content.append(element("span", "soft", `By the ends of both intervals: ${first === last ? "the same" : `${crossingText(first, curve)} to ${last === null ? "none " : ""}${crossingText(last, curve)}`}.`));
    } else {
      content.append(element("span", "soft", "No interval: one of the two has none."));
    }
    const at = lengths.map((length) => ({ ...asked, length: length === null ? curve[curve.length - 1].length : length }));
    const mark = marked(ofFirstOrOfRest(at.map((sizes) => beyondEither(kind, challenger, other, sizes))));
    if (mark) {
      content.className = "beyond";
      content.append(element("div", "mark", mark));
    }
    made.append(content);
    return made;
  };

  const crossings = (variants, asked) => {
    const made = element("ul", "crossings");
    const of = (variant) => variants.filter((one) => one.variant === variant);
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

  const say = (words, className) => {
    field("status").className = className;
    field("status").textContent = words;
  };

  // The one thing that is read out: what was computed, and not each of its numbers.
  const summary = (machine, asked, budget) => {
    const known = machine.variants.filter((one) => !one.memory.missing);
    const fitting = known.filter((one) => bytes(one, sizesOf(one, asked)).value <= budget * 2 ** 30);
    const beyondThem = known.filter((one) => beyond(one.memory, sizesOf(one, asked)).length);
    const extrapolated = beyondThem.length ? `, ${beyondThem.length} of them an extrapolation` : "";
    return `Length ${whole(asked.length)} on ${machine.name}: ${fitting.length} of ${known.length} variants fit ${budget} GiB, by predictions${extrapolated}.`;
  };

  const show = (machine, asked, budget) => {
    const scroll = element("div", "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Each variant");
    scroll.append(table(machine.variants, asked, budget * 2 ** 30));
    field("results").replaceChildren(element("h2", "", "Each variant"), scroll, element("h2", "", "From which length on"), crossings(machine.variants, asked));
    say(summary(machine, asked, budget), "soft");
  };

  const chosen = () => data.machines[field("machine") ? Number(field("machine").value) : 0];

  const compute = () => {
    const [{ budget, ...asked }, faults] = read(chosen());
    if (faults.length) {
      field("results").replaceChildren();
      say(`Nothing is computed: ${faults.join("; ")}.`, "fault");
    } else show(chosen(), asked, budget);
    field("results").setAttribute("aria-busy", "false");
  };

  // What nobody has typed goes with the machine.
  const touched = new Set();

  const showMachine = () => {
    names.filter((name) => !touched.has(name)).forEach((name) => (field(name).value = chosen().usual[name]));
    showFixed(chosen());
  };

  // Thousands of lengths are tried: not at each letter typed.
  let waiting = 0;

  const changed = (event) => {
    if (event.target.id === "machine") showMachine();
    else touched.add(event.target.id);
    field("results").setAttribute("aria-busy", "true");
    clearTimeout(waiting);
    waiting = setTimeout(compute, 200);
  };

  field("sizes").addEventListener("input", changed);
  field("sizes").addEventListener("submit", (event) => event.preventDefault());
  showMachine();
  compute();
})();
