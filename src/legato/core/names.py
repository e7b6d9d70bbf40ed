"""Readable run names, "amber-heron": easy to say, to remember and to type. The choice comes in as a number."""

from __future__ import annotations

_ADJECTIVES = """
able airy alert amber ample apt arctic ashen azure balmy bold brave brief bright brisk bronze busy calm candid cheery chief civil clear clever
coral cosmic cozy crisp curious daring dapper deft dewy eager early earnest easy ebony elder elegant fair fancy fast fine firm fleet fluent fond
frank fresh frosty gentle giddy glad golden grand green hardy hazel honest humble icy ideal ivory jade jolly keen kind lively loyal lucid lucky
lunar mellow merry mild misty modest neat nimble noble ochre olive opal open patient pearl plucky polite prime proud quick quiet rapid ready
regal rosy ruby rustic sable sage sandy scarlet serene sharp shiny silent silver sleek smart snowy solar solid spry steady stellar stoic sturdy
subtle sunny swift tawny teal tender tidy topaz tranquil trim true upbeat urban valiant vivid warm wise witty young zesty
""".split()

_ANIMALS = """
adder albatross alpaca antelope badger barracuda beaver beetle bison boar bobcat bonobo buffalo bullfinch bustard camel caracal caribou
chamois cheetah chinchilla cicada civet cobra condor coot cormorant cougar coyote crane cricket curlew deer dingo dolphin dormouse dove
dragonfly eagle egret eider elk ermine falcon ferret finch firefly flamingo fox gannet gazelle gecko gibbon goldfinch goose gopher grebe
grouse guppy hare hawk hedgehog heron hoopoe hornet hound ibex ibis iguana impala jackal jaguar jay kestrel kingfisher kite koala kudu lark
lemming lemur leopard linnet lion lizard llama lobster loon lynx macaw magpie mallard manatee marlin marmot marten meerkat mink mole moose
moth mouse mule narwhal newt nightjar ocelot octopus okapi orca oriole osprey otter owl panda panther parrot pelican penguin petrel pigeon
pike plover pony puffin puma quail quokka rabbit raccoon raven robin rook salmon sandpiper seal shrike skink skylark snipe sparrow starling
stoat stork swallow swan swift tapir tern thrush tiger toad toucan trout turtle viper vole walrus warbler weasel whale wolf wombat wren yak zebra
""".split()

COMBINATIONS = len(_ADJECTIVES) * len(_ANIMALS)


def readable_name(number: int) -> str:
    """The name for a number; equal for numbers that differ by a multiple of COMBINATIONS."""
    adjective, animal = divmod(number % COMBINATIONS, len(_ANIMALS))
    return f"{_ADJECTIVES[adjective]}-{_ANIMALS[animal]}"
