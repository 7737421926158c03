// A program outside the tree that links an installed catenet.
#include <catenet/slab/version.hpp>

#include <iostream>

int main() { std::cout << "catenet " << catenet::version() << '\n'; }
