// Settings that several programs share: table [HOST:PORT], with the address of any that runs already. Lines like
// "colour = green" set one, "colour =" takes it away, "?" shows all. What anyone changes is shown everywhere.
#include <iostream>
#include <peernet.hpp>

// One line at a time, as two threads write.
static void say(const std::string &line) { std::cout << line + '\n' << std::flush; }

static void show(std::string_view key, peernet::Reader value) {
  say(std::string(key) + " = " + value.read<std::string>(std::nothrow).value_or("(no text)"));
}

static void show_all(const peernet::SyncTable &table) {
  for (const auto &item : table.items()) show(item.key(), item.reader());
}

static void tell(const peernet::SyncTable &table, const peernet::Event &event) {
  switch (event.type()) {
    case peernet::EventType::update:
      return show(event.key().text(), event.payload());
    case peernet::EventType::erase:
      return say(std::string(event.key().text()) + " is gone");
    case peernet::EventType::superseded:
      return say(std::string(event.key().text()) + ": another was faster");
    case peernet::EventType::changes_lagged:
      return show_all(table);  // too many to have been shown
    default:
      return;
  }
}

static std::string trim(const std::string &text) {
  const auto from = text.find_first_not_of(" \t"), to = text.find_last_not_of(" \t");
  return from == std::string::npos ? "" : text.substr(from, to - from + 1);
}

static void obey(const peernet::SyncTable &table, const std::string &line) try {
  const auto middle = line.find('=');
  if (line[0] == '?') return show_all(table);
  if (middle == std::string::npos) return;
  const std::string key = trim(line.substr(0, middle)), value = trim(line.substr(middle + 1));
  if (!value.empty())
    table.set(key, value);
  else if (!table.erase(key))
    say("not done: the key has no value");
} catch (const peernet::Error &error) {
  say(std::string("not done: ") + error.what());  // mostly that the key is somebody else's for now
}

int main(int argc, char **argv) try {
  peernet::SyncTable table;
  table.want(peernet::Want::changes);
  if (argc > 1) table.connect(argv[1], std::chrono::seconds(10));
  say("at " + table.address());
  std::thread telling([&] {
    for (const peernet::Event &event : table) tell(table, event);
  });
  for (std::string line; std::getline(std::cin, line);) obey(table, line);
  table.close();  // which ends the loop
  telling.join();
} catch (const std::exception &error) {
  std::cerr << "table: " << error.what() << '\n';
  return 1;
}
