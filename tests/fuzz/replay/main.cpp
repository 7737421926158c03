// Gives a fuzz target the inputs that the repository keeps of it, without libFuzzer: what was found once
// stays found.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  int inputs = 0;
  for (int i = 1; i < argc; ++i)
    for (const std::filesystem::directory_entry& one : std::filesystem::directory_iterator(argv[i])) {
      std::printf("%s\n", one.path().c_str());
      std::fflush(stdout);  // the last line is the one to blame
      std::ifstream file{one.path(), std::ios::binary};
      const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
      ++inputs;
    }
  if (inputs == 0) std::fprintf(stderr, "usage: %s DIRECTORY...: there is no input\n", argv[0]);
  return inputs == 0 ? 1 : 0;
}
