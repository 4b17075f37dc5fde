// The compression options of ws for the parameters of RFC 7692, which are JSON.

const NAMES = {
  server_no_context_takeover: "serverNoContextTakeover",
  client_no_context_takeover: "clientNoContextTakeover",
  server_max_window_bits: "serverMaxWindowBits",
  client_max_window_bits: "clientMaxWindowBits",
};

exports.deflateOptions = (parameters, unless = true) => {
  if (parameters === undefined) return unless;
  const entries = Object.entries(JSON.parse(parameters)).map(([name, value]) => [NAMES[name], value]);
  return { threshold: 0, ...Object.fromEntries(entries) };
};
